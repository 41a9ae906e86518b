"""Batches of crops, never the same twice: as the graph hears them worsened, and as they are."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from training.rooms.impulse_responses import RATE_HZ, Floats
from training.rooms.sounds import Sounds
from training.rooms.workers import workers
from training.rooms.worsening import LEVEL_ALONE_DB, Shares, Worsening, gain
from training.sessions import on_one_core

WORDS = "speech_commands-train"
OFTEN = "common_voice-train"
"""Its clips are drawn twice as often as other sentences: they are of most people."""


@dataclass(frozen=True)
class Length:
    """Attributes: share: of the batches. seconds: of their crops. crops: in a batch. words: of the crops."""

    share: float
    seconds: float
    crops: int
    words: float = 0.0


LENGTHS = (Length(0.3, 1.0, 48, 0.7), Length(0.4, 2.0, 48), Length(0.2, 3.0, 32), Length(0.1, 4.5, 20))
LEAST_FILLED = 0.95
"""Of a crop of sentences; one of the length of words may be less, as words are."""
WORDS_ALONE_SHARE, SENTENCES_ALONE_SHARE = 0.6, 0.3
"""Crops that nothing befalls but another level: what the graph says of clips as they are is to stay."""
SHARES = Shares(filtered=0.15, room=0.65, noise=0.3, telephone=0.08, codec=0.05, clipping=0.03, level=0.3)
"""Of the rest: what befalls them."""
SPEED_SHARE, SPEED = 0.5, (0.8, 1.25)
"""Of the crops: those that are heard at another speed, clean as well as worsened."""
BEFORE_S, AFTER_SAMPLES = 0.6, 64
"""Around a crop: what was said before still echoes, and a resampler looks ahead."""
AHEAD = 12
"""Batches that may be ready or under way."""
BATCHES, FRONT_END = "batches-", "front-end.onnx"

Features = npt.NDArray[np.float32]
Batch = tuple[Features, Features]
"""Worsened and clean: [crops, frames, bins] each."""


class Crops:
    """Draws batches; each is a function of seed and step.

    Args: front_end: the graph from waveforms to features, as a file's content.
    """

    def __init__(self, sounds: Sounds, front_end: bytes, seed: int) -> None:
        self._clips, self._seed = sounds.clips, seed
        self._worsening, self._front_end = Worsening(sounds, SHARES), on_one_core(front_end)
        self._is_word = sounds.sets == WORDS
        self._weights = np.where(sounds.sets == OFTEN, 1.0, 0.5)

    def batch(self, step: int) -> Batch:
        """The step's."""
        rng = np.random.default_rng([self._seed, step])
        lengths = [length for length in LENGTHS if length.words or len(self._sentences(length))]
        shares = np.array([length.share for length in lengths])
        length = lengths[int(rng.choice(len(lengths), p=shares / shares.sum()))]
        pairs = [self.pair(int(clip), round(length.seconds * RATE_HZ), rng) for clip in self._drawn(length, rng)]
        clean, worsened = (np.stack([self._heard(pair[side]) for pair in pairs]) for side in (0, 1))
        return worsened, clean

    def pair(self, clip: int, size: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """A crop of a clip and what becomes of it: float64 [size] each."""
        samples, before = self._cut(clip, size, rng)
        clean = samples[before:]
        if rng.random() < (WORDS_ALONE_SHARE if self._is_word[clip] else SENTENCES_ALONE_SHARE):
            return clean, clean * gain(LEVEL_ALONE_DB, rng)
        return clean, self._worsening.worsened(samples, rng)[before:]

    def _cut(self, clip: int, size: int, rng: np.random.Generator) -> tuple[Floats, int]:
        """A crop behind what was said before it, silence behind it where the clip ends, and where it begins."""
        speed = rng.uniform(*SPEED) if rng.random() < SPEED_SHARE else 1.0
        length, needed = int(self._clips.lengths[clip]), int(size * speed) + AFTER_SAMPLES
        start = int(rng.integers(0, length - needed + 1)) if length > needed else 0
        first = max(0, start - int(BEFORE_S * RATE_HZ * speed))
        samples, before = self._clips.part(clip, first, start + needed), start - first
        if speed != 1.0:
            samples, before = soxr.resample(samples, RATE_HZ * speed, RATE_HZ, quality="MQ"), int(before / speed)
        missing = max(0, before + size - len(samples))
        return np.pad(samples, (0, missing))[: before + size], before

    def _drawn(self, length: Length, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Numbers of clips, none of them twice: words, where there are any, and sentences for the rest."""
        sentences, words = self._sentences(length), np.flatnonzero(self._is_word)
        number = int(length.words * length.crops) if len(sentences) else length.crops
        chosen = rng.choice(words, min(number, len(words)), replace=False) if length.words else words[:0]
        weights = self._weights[sentences]
        rest = min(length.crops - len(chosen), len(sentences))
        if not rest:
            return chosen
        return np.concatenate([chosen, rng.choice(sentences, rest, replace=False, p=weights / weights.sum())])

    def _sentences(self, length: Length) -> npt.NDArray[np.int64]:
        """Those that are long enough, or all of them where the crops are of the length of words."""
        least = 0.0 if length.words else LEAST_FILLED * length.seconds * RATE_HZ
        return np.flatnonzero(~self._is_word & (self._clips.lengths >= least))

    def _heard(self, samples: Floats) -> Features:
        found: Features = self._front_end.run(None, {"waveform": samples.astype(np.float32)[None]})[0][0]
        return found


def made_beside(folder: Path, front_end: bytes, seed: int, steps: Sequence[int]) -> Generator[Batch, None, None]:
    """The batches of these steps, in order, made by other processes while the last is learnt from.

    They end with the iterator, or this process. What is large goes through files: a process that is killed while it
    is writing to a pipe, or while somebody writes to it, leaves the pool waiting for ever. What a killed course leaves
    of them is deleted by the next one.

    Args: folder: where `Sounds` lie, and batches for a while.
    Raises: what a process raised; BrokenProcessPool where one died.
    """
    for left_behind in folder.glob(f"{BATCHES}*"):
        shutil.rmtree(left_behind, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=BATCHES, dir=folder) as beside:
        (Path(beside) / FRONT_END).write_bytes(front_end)
        pool = workers()
        left, under_way = iter(steps), deque[Future[Path]]()
        try:
            for _ in steps:
                while len(under_way) < AHEAD and (step := next(left, None)) is not None:
                    under_way.append(pool.submit(_batch, folder, Path(beside), seed, step))
                yield _taken(under_way.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)


def _batch(folder: Path, beside: Path, seed: int, step: int) -> Path:
    heard, clean = _opened(folder, beside / FRONT_END, seed).batch(step)
    made = beside / f"{step}.npz"
    np.savez(made, heard=heard, clean=clean)
    return made


def _taken(made: Path) -> Batch:
    with np.load(made, allow_pickle=False) as stored:
        batch = stored["heard"], stored["clean"]
    made.unlink()
    return batch


@cache
def _opened(folder: Path, front_end: Path, seed: int) -> Crops:
    """Once a process."""
    return Crops(Sounds.opened(folder), front_end.read_bytes(), seed)
