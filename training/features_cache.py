"""Shards → one memory-mapped float16 array of log-mel frames and the table that says which frames are whose.

Training reads crops out of it at random; decoding and the filter bank are paid for once. `NAME.f16` holds the frames,
`NAME.json` the table with what they are made of, such as the front end's parameters; it is written last. A teacher's
frames (`training.transplant.frames`) lie in the same form.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from rich.console import Console
from threadpoolctl import threadpool_limits

from speakerdb.audio import read
from speakerdb.errors import AudioUnreadable
from training.corpora import Clip
from training.decoding import decoder
from training.evaluation.embed import watched
from training.front_ends import FrontEnd
from training.kept import kept

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


def load_frames(folder: Path, name: str, made_of: Mapping[str, object], console: Console) -> CachedFeatures | None:
    """What `write_frames` wrote; None where there is nothing that is whole and made of the same."""
    return kept(folder / f"{name}.json", lambda table: _read_frames(table, made_of), console)


def _read_frames(table: Path, made_of: Mapping[str, object]) -> CachedFeatures | None:
    """None where they are made of others. Raises: one of `training.kept.DAMAGE`."""
    stored, array = json.loads(table.read_text(encoding="utf8")), table.with_suffix(".f16")
    if {key: stored.get(key) for key in made_of} != made_of:
        return None
    shape, size = (stored["starts"][-1], stored["bins"]), array.stat().st_size
    if size != np.dtype(np.float16).itemsize * shape[0] * shape[1]:
        raise ValueError(f"{array.name} has {size} bytes, which are not {shape[0]} frames")
    frames = np.memmap(array, dtype=np.float16, mode="r", shape=shape)
    return CachedFeatures(frames, np.asarray(stored["starts"], dtype=np.int64), stored["clips"])


def write_frames(
    folder: Path,
    name: str,
    made_of: Mapping[str, object],
    clips: Iterable[tuple[dict[str, str], npt.NDArray[np.float16]]],
) -> CachedFeatures:
    """Write the row and the frames, [frames, bins], of each clip; nothing is there before all of it is.

    Args: made_of: JSON values; what was made of others is not loaded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    array, table = folder / f"{name}.f16.partial", folder / f"{name}.json.partial"
    rows, starts, bins = [], [0], 0
    with array.open("wb") as file:
        for row, frames in clips:
            file.write(frames.tobytes())
            rows.append(row)
            starts.append(starts[-1] + len(frames))
            bins = frames.shape[1]
        file.flush()
        os.fsync(file.fileno())
    array.replace(folder / f"{name}.f16")
    table.write_text(json.dumps({**made_of, "bins": bins, "starts": starts, "clips": rows}), encoding="utf8")
    table.replace(folder / f"{name}.json")
    written = _read_frames(folder / table.stem, made_of)
    assert written is not None  # a line above
    return written


def load_features(folder: Path, name: str, front_end: FrontEnd, of_set: str, console: Console) -> CachedFeatures | None:
    """A cache written before; None where there is none that is whole, of this front end and of this set.

    Args: of_set: the set's hash (`records.set_hash`): a set that was prepared anew may have other people.
    """
    return load_frames(folder, name, _made_of(front_end, of_set), console)


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

    def heard() -> Iterator[tuple[dict[str, str], npt.NDArray[np.float16]]]:
        unreadable: list[Clip] = []
        long_enough = 0
        for clip, frames in watched(computed(clips, front_end), total, name, console):
            if frames is None:
                unreadable.append(clip)
            elif len(frames):
                long_enough += 1
                yield {column: getattr(clip, column) for column in ROW}, frames
        if unreadable:
            seen = long_enough + len(unreadable)
            first = f"{len(unreadable)} of {seen} clips cannot be read; the first: {_reason(unreadable[0])}"
            if len(unreadable) > MOST_UNREADABLE * seen:
                raise ValueError(f"{name}: {first}")
            console.print(f"{name}: {first}", highlight=False, soft_wrap=True)
        if not long_enough:
            raise ValueError(f"{name}: no clip that is long enough")

    return write_frames(folder, name, _made_of(front_end, of_set), heard())


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


def _made_of(front_end: FrontEnd, of_set: str) -> dict[str, object]:
    return {"front_end": asdict(front_end), "of_set": of_set}  # type: ignore[call-overload]
