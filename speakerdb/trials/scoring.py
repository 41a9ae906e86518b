"""Scores of pairs, of models and of open-set searches, from the clips' vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speakerdb.embedding import Vector, average, distances
from speakerdb.errors import InputError, printable
from speakerdb.trials.lists import Model, ModelTrial, Pair, Probe
from speakerdb.trials.table import TrialTable, unit_vector

Vectors = Mapping[str, Vector]
"""Clip → its vector, float32 [dimension], unit length."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of trials (−distance, −2 to 0): float64 [targets] and [nontargets], in the list's order."""

    target: npt.NDArray[np.float64]
    nontarget: npt.NDArray[np.float64]

    @staticmethod
    def of(values: npt.NDArray[np.float64], is_target: npt.NDArray[np.bool_]) -> Scores:
        """The two classes of float64 [trials] by bool [trials]."""
        return Scores(values[is_target], values[~is_target])


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


def score_pairs(pairs: Sequence[Pair], vectors: Vectors) -> Scores:
    """Score clip against clip.

    Args: vectors: holds every clip of the list, float32 [dimension], unit length.
    Raises: InputError for a clip without a vector; ValueError for a vector that is not of unit length.
    """
    table = TrialTable.of((pair.target, pair.first, pair.second) for pair in pairs)
    return Scores.of(table.scores(vectors, vectors), table.target)


def score_models(models: Sequence[Model], trials: Sequence[ModelTrial], vectors: Vectors) -> Scores:
    """Score clip against model.

    Args: vectors: holds every clip of both lists, as in `score_pairs`.
    Raises: InputError for a trial of a model that is not listed; else as `score_pairs`.
    """
    table = TrialTable.of((trial.target, trial.model, trial.clip) for trial in trials)
    return Scores.of(table.scores(voiceprints(models, table, vectors), vectors), table.target)


def voiceprints(models: Sequence[Model], trials: TrialTable, vectors: Vectors) -> dict[str, Vector]:
    """The voiceprint of each model, by its name. Raises: as `score_models`."""
    found = {model.name: voiceprint(model, vectors) for model in models}
    unknown = next((name for name in trials.firsts if name not in found), None)
    if unknown is not None:
        raise InputError(f"trial of the model {printable(unknown)!r}, which no models list holds")
    return found


def voiceprint(model: Model, vectors: Vectors) -> Vector:
    """The average of a model's clips: float32 [dimension], unit length."""
    return average([unit_vector(clip, vectors) for clip in model.clips])


def score_open_set(gallery: Sequence[Model], probes: Sequence[Probe], vectors: Vectors) -> OpenSetScores:
    """Search the whole gallery with every probe.

    Args: vectors: holds every clip of both lists, as in `score_pairs`.
    Raises: InputError for an empty gallery, or a probe's speaker who is not in it; else as `score_pairs`.
    """
    if not gallery:
        raise InputError("a search needs at least one speaker in the gallery")
    rows = {model.name: row for row, model in enumerate(gallery)}
    enrolled = np.stack([voiceprint(model, vectors) for model in gallery])
    mated_scores: list[float] = []
    mated_ranks: list[int] = []
    nonmated_scores: list[float] = []
    for probe in probes:
        scores = -distances(unit_vector(probe.clip, vectors), enrolled)
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
