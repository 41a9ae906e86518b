"""One evaluation from its lists to its report: of a bundle, or of scores that some other system gave."""

from __future__ import annotations

import hashlib
import json
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from speakerdb.audio import Samples
from speakerdb.embedding import Vector
from speakerdb.encoder.bundle import Bundle, Card
from speakerdb.encoder.runtime import Runtime
from speakerdb.errors import InputError, printable
from speakerdb.plots import DISTANCE, SCORE
from speakerdb.trials import read_scores
from training.evaluation.clips import Source, facts_of, named_set, source_at
from training.evaluation.embed import Encode, embed_clips, watched
from training.evaluation.embeddings import Embeddings
from training.evaluation.figures import (
    NO_DRAWS,
    Bootstrap,
    Report,
    ScoredTrials,
    Threshold,
    measure_models,
    measure_pairs,
    measure_searches,
    score_models_of,
    score_pairs_of,
    with_speakers,
)
from training.evaluation.groups import by_groups
from training.evaluation.lists import Lists
from training.evaluation.report import draw, write_trials
from training.sessions import on_one_core


@dataclass(frozen=True)
class Job:
    """Lists, and where their clips lie; None where the clips are not at hand."""

    lists: Lists
    source: Source | None


def named_job(name: str, trials: Path, shards: Path | None, corpora: Path) -> Job:
    """A set and the lists of its name. Raises: InputError where either is missing."""
    lists = Lists.named(name, trials)
    if lists is None:
        raise InputError(
            f"{printable(trials / name, 200)}-pairs.txt: there is no such list; name its folder by --trials"
        )
    source = named_set(name, shards, corpora)
    if source is None:
        places = [str(place) for place in (shards, corpora) if place is not None]
        raise InputError(
            f"{printable(name)}: neither prepared nor an archive, in {printable(' or '.join(places), 200)}"
        )
    return Job(lists, source)


def own_job(lists: Lists, audio: Path | None) -> Job:
    """Lists of one's own, and the folder or corpus of their clips."""
    return Job(lists, source_at(audio, lists.pairs.firsts[0]) if audio is not None else None)


def bootstrap_of(draws: int, console: Console) -> Bootstrap:
    """Draws that show how far they are."""
    return Bootstrap(draws, lambda what: lambda items: watched(items, draws, f"{what}: draws", console))


def encoder_hash(card: Card) -> str:
    """Of all that a vector of a clip depends on: the graph, what it is fed, and at which rate."""
    return hashlib.sha256(
        f"{card.sha256} {json.dumps(card.features, sort_keys=True)} {card.rate_hz}".encode()
    ).hexdigest()


@dataclass(frozen=True)
class Encoder:
    """What gives vectors: a function of samples at `rate_hz`, and the SHA-256 of the graph and of what it is fed."""

    encode: Encode
    rate_hz: int
    dimension: int
    sha256: str

    @staticmethod
    def of(bundle: Bundle) -> Encoder:
        """A bundle's; one thread a clip, since clips run side by side."""
        runtime, card = Runtime(bundle, threads=1), bundle.card
        return Encoder(lambda samples: runtime.vectors([samples])[0], card.rate_hz, card.dimension, encoder_hash(card))

    @staticmethod
    def of_graph(graph: bytes, rate_hz: int, dimension: int) -> Encoder:
        """A graph's that has no card yet: from waveform to its first output."""
        session = on_one_core(graph)
        output = session.get_outputs()[0].name

        def encode(samples: Samples) -> Vector:
            found: Vector = session.run([output], {"waveform": samples[None]})[0][0]
            return found

        return Encoder(encode, rate_hz, dimension, hashlib.sha256(graph).hexdigest())


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A list's report, the scores that it was made from, and the median length of its clips."""

    report: Report
    pairs: ScoredTrials
    models: ScoredTrials | None
    median_s: float


def evaluate(
    job: Job,
    encoder: Encoder,
    console: Console,
    threshold: Threshold | None = None,
    speakers: Mapping[str, str] | None = None,
    out: Path | None = None,
    bootstrap: Bootstrap = NO_DRAWS,
) -> Evaluated:
    """Embed the clips of the lists, score, measure and draw.

    Args: speakers: clip → speaker, where the clips' names do not tell. out: where embeddings, scores and pictures go;
        where None, embeddings go into a folder that is deleted.
    Raises: InputError, ValueError or OSError for lists or clips that cannot be used.
    """
    if job.source is None:
        raise InputError("name the folder or corpus that holds the clips by --audio")
    lists, report = job.lists, Report(job.lists.name)
    facts = facts_of(job.source, lists.clips(), speakers)
    with tempfile.TemporaryDirectory(prefix="speakerdb-evaluate-") as folder:
        stem = (out or Path(folder)) / f"embeddings-{encoder.sha256[:12]}-{lists.name}"
        vectors = Embeddings(stem, encoder.sha256, encoder.dimension, job.source.fingerprint())
        embed_clips(lists.clips(), job.source, encoder.encode, encoder.rate_hz, vectors, console, lists.name)
        pairs, models = score_pairs_of(lists, vectors, facts), score_models_of(lists, vectors, facts)
        measure_pairs(report, pairs, threshold, bootstrap)
        if models is not None:
            measure_models(report, models, bootstrap)
        measure_searches(report, lists, vectors, facts, bootstrap)
        report.groups = by_groups(pairs, facts, vectors.seconds)
        median_s = statistics.median(vectors.seconds[clip] for clip in lists.clips())
    if out is not None:
        write_trials(out, report, "pairs", pairs)
        if models is not None:
            write_trials(out, report, "models", models)
        draw(out, report, pairs, models, DISTANCE)
    return Evaluated(report, pairs, models, median_s)


def evaluate_scores(
    job: Job,
    scores: Path,
    threshold: float | None,
    speakers: Mapping[str, str] | None,
    out: Path | None,
    bootstrap: Bootstrap,
) -> Report:
    """The figures that a score file gives a list of pairs. Args: threshold: a score; as in `evaluate` else."""
    table = job.lists.pairs
    facts = facts_of(job.source, job.lists.clips(), speakers)
    pairs = with_speakers(table, read_scores(scores, table), facts)
    report = Report(job.lists.name)
    measure_pairs(
        report, pairs, None if threshold is None else Threshold(threshold, "stated by --threshold"), bootstrap
    )
    report.groups = by_groups(pairs, facts, {})
    if out is not None:
        draw(out, report, pairs, None, SCORE)
    return report


def threshold_of(bundle: Bundle, asked: float | None) -> Threshold | None:
    """A distance that was asked for, else the card's; None without either."""
    if asked is not None:
        return Threshold(-asked, "stated by --threshold")
    card = bundle.card
    if card.threshold_distance is None:
        return None
    return Threshold(-card.threshold_distance, card.threshold_origin)
