"""Shards → one memory-mapped float16 array of log-mel frames and the table that says which frames are whose.

Training reads crops out of it at random; decoding and the filter bank are paid for once. `NAME.f16` holds the frames,
`NAME.json` the table with the front end's parameters; it is written last.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from threadpoolctl import threadpool_limits

from speakerdb.audio import read
from speakerdb.errors import AudioUnreadable
from training.corpora import Clip
from training.decoding import decoder
from training.front_ends import FrontEnd

MOST_UNREADABLE = 0.01
"""Of the clips of a set; with more, something else is wrong."""

ROW = ("path", "name", "speaker", "corpus", "language", "sex")


@dataclass(frozen=True)
class CachedFeatures:
    """Log-mel frames of many clips.

    Attributes:
        frames: float16 [all frames, bins], memory-mapped; the mean over time is not removed.
        starts: int64 [clips + 1], where each clip's frames begin.
        clips: the table's row a clip: path, name, speaker, corpus, language, sex.
    """

    frames: npt.NDArray[np.float16]
    starts: npt.NDArray[np.int64]
    clips: list[dict[str, str]]

    @property
    def bins(self) -> int:
        """Of a frame."""
        return int(self.frames.shape[1])

    def of(self, clip: int) -> npt.NDArray[np.float32]:
        """The frames of a clip: float32 [frames, bins]."""
        return self.stretch(clip, 0, self.length(clip))

    def stretch(self, clip: int, offset: int, frames: int) -> npt.NDArray[np.float32]:
        """So many frames of a clip from `offset` on: float32 [frames, bins]; within the clip."""
        start = int(self.starts[clip]) + offset
        return np.asarray(self.frames[start : start + frames], dtype=np.float32)

    def length(self, clip: int) -> int:
        """Frames of a clip."""
        return int(self.starts[clip + 1] - self.starts[clip])


class JoinedFeatures:
    """Several caches as one; the frames stay where they are, so that memory does not grow with the hours.

    Attributes: clips: the rows of all parts, one after the other.
    """

    def __init__(self, parts: Sequence[CachedFeatures]) -> None:
        self._parts = list(parts)
        self._first = np.cumsum([0] + [len(part.clips) for part in parts])
        self.clips = [row for part in parts for row in part.clips]

    @property
    def bins(self) -> int:
        """Of a frame."""
        return self._parts[0].bins

    def of(self, clip: int) -> npt.NDArray[np.float32]:
        """As `CachedFeatures.of`."""
        part, row = self._at(clip)
        return part.of(row)

    def stretch(self, clip: int, offset: int, frames: int) -> npt.NDArray[np.float32]:
        """As `CachedFeatures.stretch`."""
        part, row = self._at(clip)
        return part.stretch(row, offset, frames)

    def length(self, clip: int) -> int:
        """Frames of a clip."""
        part, row = self._at(clip)
        return part.length(row)

    def _at(self, clip: int) -> tuple[CachedFeatures, int]:
        number = int(np.searchsorted(self._first, clip, side="right")) - 1
        return self._parts[number], clip - int(self._first[number])


Features = CachedFeatures | JoinedFeatures


def load_features(folder: Path, name: str, front_end: FrontEnd, of_set: str) -> CachedFeatures | None:
    """A cache written before; None where there is none that is whole, of this front end and of this set.

    Args: of_set: the hash of the set's index (`records.set_hash`): a set that was prepared anew has other people.
    """
    table, array = folder / f"{name}.json", folder / f"{name}.f16"
    if not table.exists() or not array.exists():
        return None
    stored = json.loads(table.read_text(encoding="utf8"))
    if stored.get("front_end") != _parameters(front_end) or stored.get("of_set") != of_set:
        return None
    shape = (stored["starts"][-1], front_end.bins)
    if array.stat().st_size != np.dtype(np.float16).itemsize * shape[0] * shape[1]:
        return None
    frames = np.memmap(array, dtype=np.float16, mode="r", shape=shape)
    return CachedFeatures(frames, np.asarray(stored["starts"], dtype=np.int64), stored["clips"])


def build_features(
    clips: Iterable[Clip],
    folder: Path,
    name: str,
    front_end: FrontEnd,
    of_set: str,
    console: Console,
    total: int | None = None,
) -> CachedFeatures:
    """Decode every clip, on all cores, and write its features.

    A clip shorter than a frame, or one that cannot be read, is left out and counted on the console.
    Args: of_set: as `load_features`; total: how many clips there are, for the time left.
    Raises: ValueError where more than 1 % cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    unreadable: list[Clip] = []
    starts = [0]
    partial = folder / f"{name}.f16.partial"
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        partial.open("wb") as file,
    ):
        task = progress.add_task(name, total=total)
        for clip, frames in computed(clips, front_end):
            progress.advance(task)
            if frames is None:
                unreadable.append(clip)
            elif len(frames):
                file.write(frames.tobytes())
                starts.append(starts[-1] + len(frames))
                rows.append({column: getattr(clip, column) for column in ROW})
        file.flush()
        os.fsync(file.fileno())
    seen = len(starts) - 1 + len(unreadable)
    if unreadable:
        first = f"{len(unreadable)} of {seen} clips cannot be read; the first: {_reason(unreadable[0])}"
        if len(unreadable) > MOST_UNREADABLE * seen:
            raise ValueError(f"{name}: {first}")
        console.print(f"{name}: {first}", highlight=False, soft_wrap=True)
    if not rows:
        raise ValueError(f"{name}: no clip that is long enough")
    partial.replace(folder / f"{name}.f16")
    table = folder / f"{name}.json.partial"
    stored = {
        "front_end": _parameters(front_end),
        "of_set": of_set,
        "bins": front_end.bins,
        "starts": starts,
        "clips": rows,
    }
    table.write_text(json.dumps(stored), encoding="utf8")
    table.replace(folder / f"{name}.json")
    cached = load_features(folder, name, front_end, of_set)
    assert cached is not None  # written one line above
    return cached


def computed(clips: Iterable[Clip], front_end: FrontEnd) -> Iterator[tuple[Clip, npt.NDArray[np.float16] | None]]:
    """Every clip with its frames, float16 [frames, bins], in order; None for one that cannot be read.

    The pipeline holds a few clips a core and no more.
    """
    waiting: deque[Clip] = deque()
    stopped: list[BaseException] = []

    def numbered() -> Iterator[tuple[int, bytes]]:
        try:
            for number, clip in enumerate(clips):
                waiting.append(clip)
                yield number, clip.audio
        except GeneratorExit:
            raise
        except BaseException as error:  # a damaged shard, Ctrl-C: `ignore_errors` would take it for the end
            stopped.append(error)

    def log_mel(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
        return front_end.log_mel(samples).astype(np.float16)

    decode = decoder(front_end.rate_hz)

    def frames(number: tf.Tensor, audio: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return number, tf.numpy_function(log_mel, [decode(audio)], tf.float16)

    kinds = (tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.string))
    found = tf.data.Dataset.from_generator(numbered, output_signature=kinds)
    found = found.map(frames, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    found = found.ignore_errors().prefetch(tf.data.AUTOTUNE)
    done = 0
    # The pipeline runs a clip a core; a BLAS that splits each product over the cores as well is three times slower.
    with threadpool_limits(1):
        for number, values in found.as_numpy_iterator():
            for _ in range(done, int(number)):
                yield waiting.popleft(), None
            yield waiting.popleft(), values
            done = int(number) + 1
    if stopped:
        raise stopped[0]
    for clip in waiting:
        yield clip, None


def _reason(clip: Clip) -> str:
    try:
        read(clip.audio, 16_000)
    except AudioUnreadable as error:
        return f"{clip.path}: {error}"
    return f"{clip.path}: its features cannot be computed"


def _parameters(front_end: FrontEnd) -> dict[str, object]:
    return asdict(front_end)  # type: ignore[call-overload,no-any-return]
