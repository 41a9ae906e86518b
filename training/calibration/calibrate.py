"""Fit a bundle's calibration on dev sets, with a cohort of training speakers, and write both into the bundle."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from speakerdb.calibration import Calibration, Cohort
from speakerdb.calibration.cohort import Norms, normalised
from speakerdb.calibration.fit import fit
from speakerdb.calibration.tail import Tail
from speakerdb.decision.judging import Judge
from speakerdb.embedding import Vectors
from speakerdb.encoder.bundle import Bundle, parse_card, read_own_model
from training.apart import people_of, require_strangers, train_sets_of
from training.calibration.conditions import Condition, condition
from training.calibration.heard import JOINED, WHOLE, Heard, heard
from training.corpora import open_corpus

COHORT_SPEAKERS = 600
NEAREST = 120
"""Of the cohort; measured on dev (docs/LOG.md)."""
MEAN_SHARE, SPREAD_SHARE = 0.75, 0.25
"""Of the norm (`Cohort`), measured on dev: the shipped encoder's vectors are moved away from known voices already."""

Scores = npt.NDArray[np.float64]

ENROLLED = (1, 3, 8)
SENTENCE_PROBES = ("1", "2", "3", WHOLE, JOINED)
SHORT_AND_WHOLE = ("1", WHOLE)
CUT_FROM_S = 1.5
"""Sets whose recordings hold less speech than this in the median are of words: their probes are not cut further."""


@dataclass
class Strangers:
    """Scores of probes of one kind beside strangers: people whom nobody has heard, and those of the training."""

    unheard: list[Scores] = field(default_factory=list)
    trained_on: list[Scores] = field(default_factory=list)

    def tail(self) -> Tail:
        """That of people whom nobody has heard, as a user's are, as far as they are enough to measure it.

        Beyond it goes the shape of the many, whose own rates would promise too much: an encoder keeps voices that it
        has learnt apart from all others (with them in it 23 % of words' strangers had a name at 10 %; docs/LOG.md).
        """
        return Tail.measured(self.unheard).followed_by(Tail.measured(self.trained_on))


def calibrate(
    folder: Path, corpora: Path, dev: tuple[str, ...], train: tuple[str, ...], work: Path, console: Console
) -> Calibration:
    """Choose the cohort, fit, and write `cohort.npy` and the card.

    Raises: ValueError for a speaker of `train`, or of a set that the encoder was trained on, who stands in `dev`.
    """
    bundle = uncalibrated(folder)
    for name in (*train, *dev):
        open_corpus(str(corpora / f"{name}.tar"))  # what is missing is told before anything is heard
    require_strangers([*train, *train_sets_of(bundle.card.raw)], people_of(dev, None, corpora), None, corpora)
    voices = {name: heard(corpora / f"{name}.tar", bundle, WHOLE, work, console).voiceprints() for name in train}
    cohort, others = choose_cohort(voices)
    found = []
    for name in dev:
        drawn = conditions(corpora / f"{name}.tar", bundle, cohort, work, console)
        found += [replace(one, trials=replace(one.trials, weight=1.0 / len(drawn))) for one in drawn]
    sentences, words = Strangers(), Strangers()
    for name in dev:
        archive = corpora / f"{name}.tar"
        kind = words if is_words(heard(archive, bundle, WHOLE, work, console)) else sentences
        unheard, trained_on = strangers(archive, bundle, cohort, _alike(name, others), work, console)
        kind.unheard += unheard
        kind.trained_on += trained_on
    trials = sum(len(one.trials.target) for one in found)
    speakers = len(set(np.concatenate([one.speakers for one in found])))
    origin = f"{speakers} speakers of {' and '.join(dev)}, {trials:,} trials"
    tails = [kind.tail() for kind in (sentences, words) if kind.unheard]
    calibration = fit([one.trials for one in found], origin, *tails)
    write(folder, calibration, cohort, train)
    return calibration


def uncalibrated(folder: Path) -> Bundle:
    """A bundle without what is to be found out, whatever its card says of it so far."""
    raw = json.loads((folder / "card.json").read_text(encoding="utf8"))
    card = parse_card({name: value for name, value in raw.items() if name not in ("calibration", "cohort")}, folder)
    return Bundle(folder, card, read_own_model(folder, card))


def conditions(
    archive: Path, bundle: Bundle, cohort: Cohort | None, work: Path, console: Console, seed: int = 0
) -> list[Condition]:
    """Trials of one set: sentences with every length of probe, words as they are."""
    enrolled = heard(archive, bundle, WHOLE, work, console)
    most = int(np.unique(enrolled.speakers, return_counts=True)[1].max())
    found: list[Condition] = []
    for kind in (WHOLE,) if is_words(enrolled) else SENTENCE_PROBES:
        probes = heard(archive, bundle, kind, work, console)
        counts = [count for count in ENROLLED if count <= most]
        drawn = [condition(archive.stem, enrolled, probes, count, kind, cohort, seed) for count in counts]
        found += [one for one in drawn if one.trials.target.any()]  # with eight clips enrolled, two may not be left
    return found


def strangers(
    archive: Path, bundle: Bundle, cohort: Cohort, others: Vectors, work: Path, console: Console
) -> tuple[list[Scores], list[Scores]]:
    """Scores of a set's probes, short ones and whole ones, beside strangers: of the set, and of `others`."""
    whole = heard(archive, bundle, WHOLE, work, console)
    prints, owners = whole.voiceprints(), np.unique(whole.speakers)
    of_set, of_others = [], []
    for kind in (WHOLE,) if is_words(whole) else SHORT_AND_WHOLE:
        probes = heard(archive, bundle, kind, work, console)
        of_set.append(all_scores(prints, probes.vectors, cohort)[owners[:, None] != probes.speakers])
        of_others.append(all_scores(others, probes.vectors, cohort).ravel())
    return of_set, of_others


def all_scores(voices: Vectors, probes: Vectors, cohort: Cohort | None) -> npt.NDArray[np.float64]:
    """[voices, probes]."""
    judge = Judge(cohort, None)
    first, second = judge.norms(voices), judge.norms(probes)
    by_voice = Norms(first.mean[:, None], first.spread[:, None])
    return normalised(voices.astype(np.float64) @ probes.T.astype(np.float64), by_voice, second)


def is_words(whole: Heard) -> bool:
    """Whether a set's recordings are so short that cutting them further makes no sense."""
    return float(np.median(whole.speech_s)) < CUT_FROM_S


def choose_cohort(
    voices: dict[str, Vectors], speakers: int = COHORT_SPEAKERS, seed: int = 0
) -> tuple[Cohort, dict[str, Vectors]]:
    """So many of the sets' voiceprints, half of all at most, drawn from all of them; and those not drawn, by set."""
    known = sum(map(len, voices.values()))
    drawn = np.random.default_rng(seed).permutation(known)[: min(speakers, known // 2)]
    chosen, others, start = [], {}, 0
    for name, prints in voices.items():
        own = np.isin(np.arange(start, start + len(prints)), drawn)
        chosen.append(prints[own])
        others[name] = prints[~own]
        start += len(prints)
    rounded = np.concatenate(chosen).astype(np.float16).astype(np.float32)
    nearest = max(2, round(len(rounded) * NEAREST / COHORT_SPEAKERS))
    return Cohort(rounded, nearest, MEAN_SHARE, SPREAD_SHARE), others


def _alike(name: str, others: dict[str, Vectors]) -> Vectors:
    """Voices of the same corpus, where it has any: a stranger at the door was recorded there."""
    corpus = name.rsplit("-", 1)[0]
    own = [voices for other, voices in others.items() if other.rsplit("-", 1)[0] == corpus]
    return np.concatenate(own or list(others.values()))


def write(folder: Path, calibration: Calibration, cohort: Cohort, train: tuple[str, ...]) -> None:
    """The cohort as float16, then the card that names its hash; each file is replaced whole."""
    file = io.BytesIO()
    np.save(file, cohort.vectors.astype(np.float16), allow_pickle=False)
    card = json.loads((folder / "card.json").read_text(encoding="utf8"))
    card["calibration"] = calibration.to_json()
    card["cohort"] = {
        "sha256": hashlib.sha256(file.getvalue()).hexdigest(),
        "speakers": len(cohort.vectors),
        "nearest": cohort.nearest,
        "mean_share": cohort.mean_share,
        "spread_share": cohort.spread_share,
        "origin": f"speakers drawn from {' and '.join(train)}",
    }
    for name, content in (("cohort.npy", file.getvalue()), ("card.json", _json(card))):
        (folder / f"{name}.part").write_bytes(content)
        (folder / f"{name}.part").replace(folder / name)


def _json(card: dict[str, Any]) -> bytes:
    return (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode()
