"""Shards → one memory-mapped float16 array of log-mel frames and the table that says which frames are whose.

Training reads crops out of it at random; decoding and the filter bank are paid for once. The filter bank is
`speakerdb.features.log_mel`, which the exported graph repeats.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from speakerdb.audio import read
from speakerdb.features import FilterBank, log_mel
from training.corpora import Clip


@dataclass(frozen=True)
class CachedFeatures:
    """Log-mel frames of many clips.

    Attributes:
        frames: float16 [all frames, bins], memory-mapped; the mean over time is not removed.
        starts: int64 [clips + 1], where each clip's frames begin.
        clips: the table's row a clip: path, speaker, corpus, language, sex.
    """

    frames: npt.NDArray[np.float16]
    starts: npt.NDArray[np.int64]
    clips: list[dict[str, str]]

    def of(self, clip: int) -> npt.NDArray[np.float32]:
        """The frames of a clip: float32 [frames, bins]."""
        return np.asarray(self.frames[self.starts[clip] : self.starts[clip + 1]], dtype=np.float32)

    def length(self, clip: int) -> int:
        """Frames of a clip."""
        return int(self.starts[clip + 1] - self.starts[clip])


def join_features(parts: Sequence[CachedFeatures]) -> CachedFeatures:
    """Several caches as one, in memory (8 hours of speech: 0.5 GB)."""
    starts = np.cumsum([0] + [part.length(clip) for part in parts for clip in range(len(part.clips))])
    clips = [row for part in parts for row in part.clips]
    return CachedFeatures(np.concatenate([part.frames for part in parts]), starts, clips)


def load_features(folder: Path, name: str) -> CachedFeatures | None:
    """A cache written before, or None where there is none that is whole (the table is written last)."""
    table, array = folder / f"{name}.json", folder / f"{name}.f16"
    if not table.exists() or not array.exists():
        return None
    stored = json.loads(table.read_text(encoding="utf8"))
    shape = (stored["starts"][-1], stored["bins"])
    if array.stat().st_size != np.dtype(np.float16).itemsize * shape[0] * shape[1]:
        return None
    frames = np.memmap(array, dtype=np.float16, mode="r", shape=shape)
    return CachedFeatures(frames, np.asarray(stored["starts"], dtype=np.int64), stored["clips"])


def build_features(clips: Iterable[Clip], folder: Path, name: str, bank: FilterBank) -> CachedFeatures:
    """Decode every clip and write its features; a clip shorter than a frame is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    starts, rows = [0], []
    with (folder / f"{name}.f16").open("wb") as file:
        for clip in clips:
            frames = log_mel(read(clip.audio, bank.rate_hz).samples, bank)
            if not len(frames):
                continue
            file.write(frames.astype(np.float16).tobytes())
            starts.append(starts[-1] + len(frames))
            rows.append(
                {
                    "path": clip.path,
                    "name": clip.name,
                    "speaker": clip.speaker,
                    "corpus": clip.corpus,
                    "language": clip.language,
                    "sex": clip.sex,
                }
            )
    partial = folder / f"{name}.partial"
    partial.write_text(json.dumps({"bins": bank.bins, "starts": starts, "clips": rows}), encoding="utf8")
    partial.replace(folder / f"{name}.json")
    cached = load_features(folder, name)
    assert cached is not None  # written one line above
    return cached
