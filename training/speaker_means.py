"""Targets, drawn towards the mean of their speaker's.

A teacher says of a word what it hears in that word, and half of it is the word. The mean of a speaker's clips is nearer
to the voice; a clip that is far from its speaker's others keeps its own, since labels may be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from speakerdb.embedding import normalize
from training.recipe_values import Cosine, Share

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SpeakerMeans:
    """How far targets are drawn.

    Attributes:
        shares: of the mean in a target, by corpus: 0 leaves the clip's own, 1 takes the mean instead.
        least_alike: cosine of a clip's target to the mean of its speaker's others, to be drawn and to count.
    """

    shares: dict[str, Share] = field(default_factory=dict)
    least_alike: Cosine = 0.4


def draw_to_means(
    targets: Array, clips: Sequence[str], speakers: Sequence[str], corpora: Sequence[str], how: SpeakerMeans
) -> Array:
    """Targets of clips, drawn to the means of their speakers'.

    Args: targets: float32 [rows, dimension], unit length. clips: of each row, its name in its corpus; one that stands
        there more than once counts once, and is no other clip of its speaker's.
    Returns: likewise; those of a lone clip as they are.
    """
    named = [f"{corpus}\t{clip}" for corpus, clip in zip(corpora, clips, strict=True)]
    _, first, again = np.unique(named, return_index=True, return_inverse=True)
    shares = np.array([how.shares.get(corpora[row], 0.0) for row in first])
    return _drawn(targets[first], np.array([speakers[row] for row in first]), shares, how.least_alike)[again]


def draw_parts_to_means(
    parts: tuple[Array, Array],
    targets: Array,
    speakers: npt.NDArray[Any],
    shares: npt.NDArray[np.float64],
    least: float,
) -> tuple[Array, Array]:
    """Two parts of targets, drawn likewise, each to its own mean: float32 [clips, dimension] each.

    Args: targets: which say who sounds alike, unit length. shares: of the means, for each clip. least: `least_alike`.
    """
    drawn = parts[0].copy(), parts[1].copy()
    for _, alike in _alike(targets, speakers, least):
        share = shares[alike][:, None]
        for part, of in zip(drawn, parts, strict=True):
            part[alike] = (1 - share) * of[alike] + share * of[alike].mean(axis=0)
    return drawn


def _drawn(
    targets: Array, speakers: npt.NDArray[np.str_], shares: npt.NDArray[np.float64], least_alike: float
) -> Array:
    drawn = targets.copy()
    for clips, alike in _alike(targets, speakers, least_alike):
        if share := shares[clips[0]]:
            own = targets[alike].astype(np.float64)
            mean = normalize(own.sum(axis=0, keepdims=True))
            drawn[alike] = normalize((1 - share) * own + share * mean)
    return drawn


def _alike(
    targets: Array, speakers: npt.NDArray[Any], least_alike: float
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """A speaker's clips, and those of them that sound like its others; of those who have such."""
    for clips in by_speaker(speakers):
        own = targets[clips].astype(np.float64)
        others = own.sum(axis=0) - own
        alike = (own * others).sum(axis=1) >= least_alike * np.linalg.norm(others, axis=1)
        if len(clips) > 1 and alike.any():
            yield clips, clips[alike]


def by_speaker(speakers: npt.NDArray[Any]) -> list[npt.NDArray[np.intp]]:
    """Each speaker's clips, speakers and clips in order. Args: speakers: names or numbers, of each clip."""
    order = np.argsort(speakers, kind="stable")
    return np.split(order, np.flatnonzero(speakers[order][1:] != speakers[order][:-1]) + 1)
