"""What crops are made of: clips, noises and rooms, written once and memory-mapped from then on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from speakerdb.audio import Samples, read
from training.corpora import open_corpus
from training.kept import kept
from training.rooms.impulse_responses import RATE_HZ, Floats, impulse_response
from training.rooms.workers import workers

LONGEST_S, SHORTEST_S = 12.0, 0.4
"""Clips are cut after the one, and left out below the other."""
LEAST_POWER = 1e-8
"""Of a noise: there are recordings of nothing among them."""
ROOMS = 1200
ROOMS_AT_ONCE = 10
"""That a process simulates."""
SEED = 7
"""Of the rooms; the k-th is a function of it and k."""
TABLE = "sounds.json"
"""Says what the rest was made of, and is written last."""


@dataclass(frozen=True)
class Pieces:
    """Sounds of any length, one after the other.

    Attributes: samples: float16 or float32 [samples of all]. lengths: int64 [pieces], samples.
    """

    samples: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: int) -> Floats:
        return self.part(number, 0, int(self.lengths[number]))

    def part(self, number: int, begin: int, end: int) -> Floats:
        """A piece's samples from `begin` to `end`, or to its own end: float64."""
        first = int(self._starts[number])
        return np.asarray(self.samples[first + begin : first + min(end, int(self.lengths[number]))], np.float64)

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.cumsum(self.lengths) - self.lengths

    @staticmethod
    def opened(folder: Path, name: str) -> Pieces:
        """What `written` left there. Raises: OSError where it did not; ValueError where that was cut."""
        samples = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        lengths = np.load(folder / f"{name}-lengths.npy", allow_pickle=False)
        if len(samples) != lengths.sum():
            raise ValueError(f"{name}.npy has {len(samples)} samples, and {lengths.sum()} belong there")
        return Pieces(samples, lengths)

    @staticmethod
    def written(folder: Path, name: str, pieces: list[npt.NDArray[Any]]) -> None:
        """Write NAME.npy and NAME-lengths.npy, of the pieces' own kind of number."""
        np.save(folder / f"{name}-lengths.npy", np.array([len(piece) for piece in pieces], np.int64))
        np.save(folder / f"{name}.npy", np.concatenate(pieces))


@dataclass(frozen=True)
class Sounds:
    """Attributes: clips, noises: float16. rooms: impulse responses, float32."""

    clips: Pieces
    noises: Pieces
    rooms: Pieces

    @staticmethod
    def opened(folder: Path) -> Sounds:
        """What `write_sounds` left there. Raises: OSError where it did not."""
        return Sounds(*(Pieces.opened(folder, name) for name in ("clips", "noises", "rooms")))


def make_sounds(corpora: Path, sets: Sequence[str], noise: str, folder: Path, console: Console) -> None:
    """See that the folder holds these sets' clips, the noises and the rooms; made where it does not.

    Args: corpora: where the archives lie. sets: of clips. noise: the set of noises.
    Raises: ValueError for sets without clips, or noise without any.
    """
    made_of: dict[str, Any] = {"sets": [*sets, noise], "rooms": ROOMS, "seed": SEED}
    made_of["corpora"] = [open_corpus(str(corpora / f"{name}.tar")).fingerprint() for name in (*sets, noise)]
    table = folder / TABLE
    if kept(table, lambda file: _are_of(file, made_of), console):
        return
    folder.mkdir(parents=True, exist_ok=True)
    table.unlink(missing_ok=True)
    clips = list(track(_clips(corpora, sets), "clips", console=console))
    noises = [samples for samples in _clips(corpora, [noise]) if _power(samples) > LEAST_POWER]
    write_sounds(folder, clips, noises, _rooms(console))
    partial = table.with_suffix(".partial")
    partial.write_text(json.dumps(made_of), encoding="utf8")
    partial.replace(table)


def _are_of(table: Path, made_of: dict[str, Any]) -> bool:
    """Whether all sounds beside a table are there and made of this. Raises: one of `training.kept.DAMAGE`."""
    if json.loads(table.read_text(encoding="utf8")) != made_of:
        return False
    Sounds.opened(table.parent)
    return True


def write_sounds(
    folder: Path,
    clips: Sequence[npt.NDArray[Any]],
    noises: Sequence[npt.NDArray[Any]],
    rooms: Iterable[Samples],
) -> None:
    """Write what `Sounds.opened` reads.

    Args: clips, noises, rooms: float32 [samples] each.
    Raises: ValueError where there are no clips, or no noises.
    """
    if not clips or not noises:
        raise ValueError(f"rooms: {len(clips)} clips and {len(noises)} noises to learn from; at least one of each")
    Pieces.written(folder, "clips", [samples.astype(np.float16) for samples in clips])
    Pieces.written(folder, "noises", [samples.astype(np.float16) for samples in noises])
    Pieces.written(folder, "rooms", list(rooms))


def _clips(corpora: Path, sets: Sequence[str]) -> Iterator[npt.NDArray[np.float16]]:
    for name in sets:
        corpus = open_corpus(str(corpora / f"{name}.tar"))
        for clip in corpus.clips(corpus.rows()):
            samples = read(clip.audio, RATE_HZ).samples[: round(LONGEST_S * RATE_HZ)]
            if len(samples) >= SHORTEST_S * RATE_HZ:
                yield samples.astype(np.float16)


def _power(samples: npt.NDArray[np.float16]) -> float:
    """In float32: the squares of quiet samples are none in float16."""
    return float(np.square(samples, dtype=np.float32).mean())


def _rooms(console: Console) -> Iterator[Samples]:
    with workers() as pool:
        made = pool.map(_room, range(ROOMS), chunksize=ROOMS_AT_ONCE)
        yield from track(made, "rooms", ROOMS, console=console)


def _room(number: int) -> Samples:
    return impulse_response(np.random.default_rng([SEED, number]))
