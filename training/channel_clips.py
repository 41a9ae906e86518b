"""Clips of train sets as they are and as channels make them, and what a graph says of both."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto
from rich.console import Console

from training.evaluation.embed import watched
from training.kept import kept, read_arrays, write_arrays
from training.rooms.impulse_responses import RATE_HZ, Floats
from training.rooms.sounds import TABLE, Sounds, make_sounds
from training.rooms.workers import workers
from training.rooms.worsening import Shares, Worsening
from training.sessions import on_one_core

WAYS = 4
"""In which each clip is worsened."""
CROP_S = (1.0, 6.0)
"""What is taken of a clip, where it is longer: channels are to be known in a second."""
SHARES = Shares(filtered=0.1, room=0.3, noise=0.3, telephone=0.3, codec=0.2, clipping=0.03, level=0.0)
SEED = 16
AT_ONCE = 20
"""Clips that a process hears."""


@dataclass(frozen=True)
class Worsened:
    """What was heard of clips; the first of each as it was recorded, the others worsened.

    Attributes: statistics: float32 [clips, 1 + WAYS, statistics]. vectors: float32 [clips, 1 + WAYS, dimension].
    """

    statistics: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.float32]


def heard_worsened(
    model: ModelProto, rate_hz: int, sets: Sequence[str], noise: str, corpora: Path, work: Path, console: Console
) -> Worsened:
    """Of all clips of these sets; from `work` where that was done before.

    Args: model: from a waveform to statistics and vectors. corpora: where the archives lie.
    Raises: ValueError where there is no such archive, or for another rate than 16 kHz.
    """
    if rate_hz != RATE_HZ:
        raise ValueError(f"channels: clips are worsened at {RATE_HZ} Hz; the graph hears {rate_hz}")
    sounds, graph = work / "rooms", model.SerializeToString()
    make_sounds(corpora, sets, noise, sounds, console)
    key = hashlib.sha256(graph + (sounds / TABLE).read_bytes()).hexdigest()[:12]
    file = work / "last-steps" / f"worsened-{key}.npz"
    if (before := kept(file, lambda stored: Worsened(**read_arrays(stored)), console)) is not None:
        return before
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = file.with_suffix(".onnx")
    beside.write_bytes(graph)  # spawned processes read it once each
    found = _heard_of_all(sounds, beside, console)
    write_arrays(file, **vars(found))
    beside.unlink()
    return found


def _heard_of_all(sounds: Path, graph: Path, console: Console) -> Worsened:
    count = len(Sounds.opened(sounds).clips)
    parts = [range(first, min(count, first + AT_ONCE)) for first in range(0, count, AT_ONCE)]
    with workers() as pool:
        heard = pool.map(_heard, [sounds] * len(parts), [graph] * len(parts), parts)
        done = [row for rows in watched(heard, len(parts), "worsened clips", console) for row in rows]
    statistics, vectors = (np.stack([row[side] for row in done]) for side in (0, 1))
    return Worsened(statistics, vectors)


def _heard(sounds: Path, graph: Path, clips: range) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    listener = _opened(sounds, graph)
    return [listener.heard(clip) for clip in clips]


@cache
def _opened(sounds: Path, graph: Path) -> Listener:
    """Once a process."""
    return Listener(Sounds.opened(sounds), on_one_core(str(graph)))


class Listener:
    """Crops of clips, as they are and worsened; each is a function of the clip's number."""

    def __init__(self, sounds: Sounds, session: Any) -> None:
        self._clips, self._worsening, self._session = sounds.clips, Worsening(sounds, SHARES), session

    def heard(self, clip: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Statistics [1 + WAYS, statistics] and vectors [1 + WAYS, dimension]."""
        rng = np.random.default_rng([SEED, clip])
        crop = self.crop(clip, rng)
        said = [self._said(crop), *(self._said(self._worsening.worsened(crop, rng)) for _ in range(WAYS))]
        statistics, vectors = (np.concatenate([one[side] for one in said]) for side in (0, 1))
        return statistics, vectors

    def crop(self, clip: int, rng: np.random.Generator) -> Floats:
        """A part of it from anywhere, or all where it is shorter: float64 [samples]."""
        size, length = round(rng.uniform(*CROP_S) * RATE_HZ), int(self._clips.lengths[clip])
        first = int(rng.integers(0, max(0, length - size) + 1))
        return self._clips.part(clip, first, first + size)

    def _said(self, samples: Floats) -> list[npt.NDArray[np.float32]]:
        found: list[npt.NDArray[np.float32]] = self._session.run(None, {"waveform": samples.astype(np.float32)[None]})
        return found
