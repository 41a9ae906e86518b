"""What the teachers say of a clip, in the directions in which a graph lays its own vectors.

A graph that was trained before has a basis of its own. The fused teachers' leading directions
(`training.teachers.fuse`) are turned by the rotation that brings them nearest to what the graph says of the recorded
clips (orthogonal Procrustes: P. Schönemann, Psychometrika 31, 1966), and the direction that levelling left free in it
stays free.

Which teacher is to be heard depends on the crop: of one-second words the second knows as much as the first, of
sentences little that the first does not (docs/LOG.md). So each one's part is kept apart:

    target = unit(first + √weight · second)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb.embedding import normalize
from training.further.course import Further
from training.further.lessons import Lessons
from training.known_voices import FREE
from training.rooms.impulse_responses import RATE_HZ
from training.speaker_means import SpeakerMeans, draw_parts_to_means

Array = npt.NDArray[np.float32]

ASKED = 1800
"""Recorded clips of each corpus that the rotation is fitted to."""
ORIGINALS = 2.0
"""What a recorded clip counts beside each virtual one where the leading directions are looked for."""
SECONDS = 1.0, 3.0
"""Of crops, which `Further.second_weight` is of."""


@dataclass(frozen=True)
class Targets:
    """Either teacher's part of each clip's target.

    Attributes: first, second: float32 [clips, dimension]. words: of each clip, whether it is a single word.
    """

    first: Array
    second: Array
    words: npt.NDArray[np.bool_]

    def of(self, clip: int, samples: int, how: Further) -> Array:
        """What is to be said of a crop of so many samples: float32 [dimension], unit length."""
        weight = how.weight_of_words if self.words[clip] else np.interp(samples / RATE_HZ, SECONDS, how.second_weight)
        return unit(self.first[clip] + np.sqrt(np.float32(weight)) * self.second[clip])


def unit(vector: npt.NDArray[np.floating[Any]]) -> Array:
    """Of unit length; zeros stay zeros."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), np.float32)


def in_directions_of(
    said_of: Callable[[int], Array],
    both: tuple[Array, Array],
    lessons: Lessons,
    how: Further,
    second_weight: float,
    means: SpeakerMeans,
    joined: list[str],
) -> Targets:
    """Targets of all clips.

    Args: said_of: the graph's unit vector of a clip. both: the teachers' vectors of the clips. second_weight: of the
        training before, by which the leading directions are found. joined: corpora of single words.
    """
    words, asked = np.isin(lessons.corpora, joined), _asked(lessons)
    first, second = (normalize(part - part[lessons.recorded].mean(axis=0)) for part in both)
    fused = np.concatenate([first, np.sqrt(second_weight) * second], axis=1)
    turn = _turn(fused, lessons.recorded, asked, np.stack([said_of(int(clip)) for clip in asked]))
    parts = first @ turn[: first.shape[1]], second @ turn[first.shape[1] :]
    weights = np.where(words, how.weight_of_words, np.mean(how.second_weight))
    alike = normalize(parts[0] + np.sqrt(weights)[:, None] * parts[1])
    shares = np.array([means.shares.get(corpus, 0.0) for corpus in lessons.corpora])
    drawn = draw_parts_to_means(parts, alike, lessons.speakers, shares, means.least_alike)
    return Targets(*(part.astype(np.float32) for part in drawn), words)


def _asked(lessons: Lessons, seed: int = 0) -> npt.NDArray[np.intp]:
    """Recorded clips of each corpus."""
    rng, chosen, corpora = np.random.default_rng(seed), list[npt.NDArray[np.intp]](), lessons.corpora
    for corpus in np.unique(corpora):
        own = np.flatnonzero(lessons.recorded & (corpora == corpus))
        chosen.append(rng.choice(own, min(ASKED, len(own)), replace=False))
    return np.concatenate(chosen)


def _turn(
    fused: npt.NDArray[np.floating[Any]], recorded: npt.NDArray[np.bool_], asked: npt.NDArray[np.intp], said: Array
) -> npt.NDArray[np.float64]:
    """From the fused teachers' dimensions to the graph's: float64 [fused, dimension].

    Raises: ValueError where there are fewer clips than dimensions.
    """
    dimension = said.shape[1]
    if min(len(asked), fused.shape[1]) < dimension:
        raise ValueError(f"{len(asked)} clips, {fused.shape[1]} of the teachers' dimensions: too few for {dimension}")
    counted = fused * np.sqrt(np.where(recorded, ORIGINALS, 1.0))[:, None]
    leading = np.linalg.eigh(counted.T @ counted)[1][:, ::-1][:, :dimension]
    left, _, right = np.linalg.svd(normalize(fused[asked] @ leading).T @ said)
    _, sizes, directions = np.linalg.svd(said.astype(np.float64), full_matrices=False)
    turned, last = leading @ (left @ right), directions[-1]
    return np.asarray(turned - np.outer(turned @ last, last) if sizes[-1] <= FREE * sizes[0] else turned)
