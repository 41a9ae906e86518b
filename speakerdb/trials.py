"""Trial lists, and the scores that an encoder's vectors give them.

Plain UTF-8 text, one entry a line, fields separated by white space; empty lines are skipped:

    pairs           1|0 CLIP CLIP        1 the same speaker, 0 two speakers (VoxCeleb's form)
    models          MODEL CLIP …         who is enrolled with which clips; a gallery has the same form
    model trials    1|0 MODEL CLIP
    probes          SPEAKER|- CLIP       who a search is for; - is a stranger

A clip is any name without white space: a path within a corpus, mostly. Scores are −distance, so higher is
more alike, as `speakerdb.metrics` takes them; a model's vector is the average of its clips' vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from speakerdb.embedding import Vector, average, distances
from speakerdb.errors import InputError, printable

Vectors = Mapping[str, Vector]
"""Clip → its vector, float32 [dimension], unit length."""


@dataclass(frozen=True)
class Pair:
    """Two clips, `target` where one speaker says both."""

    target: bool
    first: str
    second: str


@dataclass(frozen=True)
class Model:
    """A speaker enrolled with one clip or more."""

    name: str
    clips: tuple[str, ...]


@dataclass(frozen=True)
class ModelTrial:
    """A clip against a model, `target` where the model's speaker says it."""

    target: bool
    model: str
    clip: str


@dataclass(frozen=True)
class Probe:
    """A clip to search a gallery with; `speaker` is None for a stranger."""

    speaker: str | None
    clip: str


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of trials (−distance, −2 to 0): float64 [targets] and [nontargets], in the list's order."""

    target: npt.NDArray[np.float64]
    nontarget: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OpenSetScores:
    """Open-set searches, in the list's order; scores are −distance, −2 to 0.

    Attributes:
        mated_scores: float64 [mated], the true speaker's.
        mated_ranks: int64 [mated], the true speaker's, 1 the nearest; the last among equals.
        nonmated_scores: float64 [nonmated], of the speaker nearest to the stranger.
    """

    mated_scores: npt.NDArray[np.float64]
    mated_ranks: npt.NDArray[np.int64]
    nonmated_scores: npt.NDArray[np.float64]


def read_pairs(path: str | Path) -> list[Pair]:
    """Read `1|0 CLIP CLIP` lines.

    Returns: the pairs in the file's order, at least one.
    Raises: InputError, naming file and line, for a malformed line; for a file that is empty or unreadable.
    """
    return [Pair(label == "1", first, second) for _, (label, first, second) in _read(path, "1|0 CLIP CLIP")]


def read_models(path: str | Path) -> list[Model]:
    """Read `MODEL CLIP …` lines: a list of models, or a gallery.

    Returns: the models in the file's order, at least one, names distinct, each with at least one clip.
    Raises: InputError as `read_pairs`, and for a name that occurs twice.
    """
    models: dict[str, Model] = {}
    for number, (name, *clips) in _read(path, "MODEL CLIP …"):
        if name in models:
            raise _malformed(path, number, f"{printable(name)!r} occurs twice")
        models[name] = Model(name, tuple(clips))
    return list(models.values())


def read_model_trials(path: str | Path) -> list[ModelTrial]:
    """Read `1|0 MODEL CLIP` lines.

    Returns: the trials in the file's order, at least one. Raises: InputError as `read_pairs`.
    """
    return [ModelTrial(label == "1", model, clip) for _, (label, model, clip) in _read(path, "1|0 MODEL CLIP")]


def read_probes(path: str | Path) -> list[Probe]:
    """Read `SPEAKER|- CLIP` lines.

    Returns: the probes in the file's order, at least one. Raises: InputError as `read_pairs`.
    """
    lines = _read(path, "SPEAKER|- CLIP")
    return [Probe(None if speaker == "-" else speaker, clip) for _, (speaker, clip) in lines]


def score_pairs(pairs: Sequence[Pair], vectors: Vectors) -> Scores:
    """Score clip against clip.

    Args: vectors: holds every clip of the list, float32 [dimension], unit length.
    Raises: InputError for a clip without a vector; ValueError for a vector that is not of unit length.
    """
    scores = [-distances(_vector(vectors, p.first), [_vector(vectors, p.second)])[0] for p in pairs]
    return _split(scores, [pair.target for pair in pairs])


def score_models(models: Sequence[Model], trials: Sequence[ModelTrial], vectors: Vectors) -> Scores:
    """Score clip against model.

    Args: vectors: holds every clip of both lists, as in `score_pairs`.
    Raises: InputError for a trial of a model that is not listed; else as `score_pairs`.
    """
    voiceprints = {model.name: _voiceprint(model, vectors) for model in models}
    for trial in trials:
        if trial.model not in voiceprints:
            raise InputError(f"trial of the model {printable(trial.model)!r}, which no models list holds")
    scores = [-distances(voiceprints[t.model], [_vector(vectors, t.clip)])[0] for t in trials]
    return _split(scores, [trial.target for trial in trials])


def score_open_set(gallery: Sequence[Model], probes: Sequence[Probe], vectors: Vectors) -> OpenSetScores:
    """Search the whole gallery with every probe.

    Args: vectors: holds every clip of both lists, as in `score_pairs`.
    Raises: InputError for an empty gallery, or a probe's speaker who is not in it; else as `score_pairs`.
    """
    if not gallery:
        raise InputError("a search needs at least one speaker in the gallery")
    rows = {model.name: row for row, model in enumerate(gallery)}
    voiceprints = np.stack([_voiceprint(model, vectors) for model in gallery])
    mated_scores: list[float] = []
    mated_ranks: list[int] = []
    nonmated_scores: list[float] = []
    for probe in probes:
        scores = -distances(_vector(vectors, probe.clip), voiceprints)
        if probe.speaker is None:
            nonmated_scores.append(float(scores.max()))
        elif probe.speaker not in rows:
            raise InputError(f"probe of {printable(probe.speaker)!r}, who is not in the gallery; mark it -")
        else:
            score = scores[rows[probe.speaker]]
            mated_scores.append(float(score))
            mated_ranks.append(int(np.count_nonzero(scores >= score)))
    return OpenSetScores(
        np.array(mated_scores, dtype=np.float64),
        np.array(mated_ranks, dtype=np.int64),
        np.array(nonmated_scores, dtype=np.float64),
    )


def _read(path: str | Path, form: str) -> list[tuple[int, list[str]]]:
    """Line number and fields of each line, checked against `form`: how many fields, and the label."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"{printable(path, 200)}: {reason}", path=str(path)) from error
    numbered = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise InputError(f"{printable(path, 200)}: empty, where `{form}` lines belong", path=str(path))
    least = len(form.removesuffix("…").split())
    for number, fields in numbered:
        fitting = len(fields) >= least if form.endswith("…") else len(fields) == least
        if not fitting or (form.startswith("1|0") and fields[0] not in ("0", "1")):
            raise _malformed(path, number, f"{printable(' '.join(fields))!r} is not `{form}`")
    return numbered


def _malformed(path: str | Path, number: int, reason: str) -> InputError:
    return InputError(f"{printable(path, 200)}:{number}: {reason}", path=str(path), line=number)


def _vector(vectors: Vectors, clip: str) -> Vector:
    if clip not in vectors:
        raise InputError(f"no vector for the clip {printable(clip)!r}", clip=clip)
    vector = vectors[clip]
    if not abs(float(np.linalg.norm(vector)) - 1.0) <= 1e-3:  # NaN fails this way too
        raise ValueError(f"the vector of {printable(clip)!r} is not of unit length")
    return vector


def _voiceprint(model: Model, vectors: Vectors) -> Vector:
    return average([_vector(vectors, clip) for clip in model.clips])


def _split(scores: list[float], targets: list[bool]) -> Scores:
    values, is_target = np.array(scores, dtype=np.float64), np.array(targets, dtype=np.bool_)
    return Scores(values[is_target], values[~is_target])
