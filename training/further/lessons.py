"""The clips that a graph learns further from, recorded and virtual: made once, memory-mapped from then on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from speakerdb.audio import read
from speakerdb.errors import AudioUnreadable
from training.kept import kept, read_arrays, write_arrays
from training.records import set_hash
from training.rooms.impulse_responses import RATE_HZ, Floats
from training.rooms.sounds import Pieces
from training.virtual_speakers import LEAST_S, clip_count, clips_of, recorded_set

LONGEST_S = 6.0
"""Clips are cut after it: no crop is longer, and few clips are."""


@dataclass(frozen=True)
class Lesson:
    """One set's clips.

    Attributes: clips: float16. paths, names, speakers, corpora: of each clip.
    """

    name: str
    clips: Pieces
    paths: npt.NDArray[np.str_]
    names: npt.NDArray[np.str_]
    speakers: npt.NDArray[np.str_]
    corpora: npt.NDArray[np.str_]

    @property
    def rows(self) -> list[dict[str, str]]:
        """As `training.teachers` asks about them."""
        return [{"path": path, "name": name} for path, name in zip(self.paths, self.names, strict=True)]


@dataclass(frozen=True)
class Lessons:
    """All of them; a clip is a number that counts through all sets."""

    sets: list[Lesson]

    def __len__(self) -> int:
        return len(self.lengths)

    def part(self, clip: int, begin: int, end: int) -> Floats:
        """Samples from `begin` to `end`, or to the clip's own end: float64."""
        at = int(np.searchsorted(self._starts, clip, side="right")) - 1
        return self.sets[at].clips.part(clip - int(self._starts[at]), begin, end)

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Of each clip, in samples."""
        return np.concatenate([one.clips.lengths for one in self.sets])

    @cached_property
    def speakers(self) -> npt.NDArray[np.int64]:
        """A number of each clip's speaker; another voice of one is another speaker."""
        return np.unique(np.concatenate([one.speakers for one in self.sets]), return_inverse=True)[1]

    @cached_property
    def corpora(self) -> npt.NDArray[np.str_]:
        """Of each clip."""
        return np.concatenate([one.corpora for one in self.sets])

    @cached_property
    def recorded(self) -> npt.NDArray[np.bool_]:
        """Of each clip, whether somebody said it so."""
        return np.repeat([one.name == recorded_set(one.name) for one in self.sets], [len(s.paths) for s in self.sets])

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        counts = np.array([len(one.paths) for one in self.sets])
        return np.cumsum(counts) - counts

    @staticmethod
    def opened(folder: Path, names: Sequence[str]) -> Lessons:
        """What `make_lessons` left there. Raises: OSError where it did not."""
        return Lessons([_opened(folder, name) for name in names])


def make_lessons(shards: Path, names: Sequence[str], folder: Path, console: Console) -> Lessons:
    """The sets' clips, made of the shards where the folder does not hold them.

    Args: names: of sets, recorded or virtual (`training.virtual_speakers`).
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in names:
        made_of = set_hash(shards, recorded_set(name))
        if kept(folder / f"{name}.npz", lambda file, of=made_of: _is_of(file, of), console):  # type: ignore[misc]
            continue
        _make(shards, name, folder, made_of, console)
    return Lessons.opened(folder, names)


def _make(shards: Path, name: str, folder: Path, made_of: str, console: Console) -> None:
    pieces, rows = [], []
    clips = clips_of(shards, name, RATE_HZ)
    for clip in track(clips, name, clip_count(shards, name), console=console):
        try:
            samples = read(clip.audio, RATE_HZ).samples[: round(LONGEST_S * RATE_HZ)]
        except AudioUnreadable:
            continue
        if len(samples) < LEAST_S * RATE_HZ:
            continue
        pieces.append(samples.astype(np.float16))
        rows.append((clip.path, clip.name, clip.speaker, clip.corpus))
    if not rows:
        raise ValueError(f"{name}: no clip of it can be read")
    Pieces.written(folder, name, pieces)
    columns = dict(zip(("paths", "names", "speakers", "corpora"), map(np.array, zip(*rows, strict=True)), strict=True))
    write_arrays(folder / f"{name}.npz", made_of=np.array(made_of), **columns)


def _is_of(file: Path, made_of: str) -> bool:
    Pieces.opened(file.parent, file.stem)
    return str(read_arrays(file)["made_of"]) == made_of


def _opened(folder: Path, name: str) -> Lesson:
    stored = read_arrays(folder / f"{name}.npz")
    columns = (stored[column] for column in ("paths", "names", "speakers", "corpora"))
    return Lesson(name, Pieces.opened(folder, name), *columns)
