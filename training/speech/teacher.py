"""Where somebody speaks in clean clips, by Silero's model, and the clips themselves, kept on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from rich.console import Console

from speakerdb.audio import read
from speakerdb.speech_detector import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from training.corpora import open_corpus
from training.evaluation.embed import watched
from training.kept import kept, read_arrays, write_arrays

HELD_OUT = 5
"""One recording of noise in so many is kept for measuring."""

CONTEXT_SAMPLES = 64
STATE_SHAPE = (1, 1, 128)
SILERO = Path(__file__).parent / "silero" / "silero_vad_16k.onnx"
SHA256 = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"

Clip = tuple[Samples, npt.NDArray[np.float32]]
"""Samples, a multiple of 512 of them, and the probability of speech in each frame."""


class Silero:
    """Silero's sequence model (training/speech/silero/README.md), a recording a call."""

    def __init__(self, file: Path) -> None:
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != SHA256:
            raise ValueError(f"{file}: not silero-vad 6.2.3's sequence model")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def probabilities(self, samples: Samples) -> npt.NDArray[np.float32]:
        """Of each frame of 512 samples, the last filled up with zeros."""
        filled = np.pad(samples, (CONTEXT_SAMPLES, -len(samples) % FRAME_SAMPLES))
        windows = np.lib.stride_tricks.sliding_window_view(filled, FRAME_SAMPLES + CONTEXT_SAMPLES)[::FRAME_SAMPLES]
        state = np.zeros(STATE_SHAPE, np.float32)
        inputs = {"input": np.ascontiguousarray(windows), "h": state, "c": state}
        found: npt.NDArray[np.float32] = self._session.run(["speech_probs"], inputs)[0]
        return found


def labelled(archive: Path, silero: Silero, folder: Path, console: Console) -> list[Clip]:
    """A set's clips at 16 kHz with their speech, from `folder` where that was done before."""
    corpus = open_corpus(str(archive))
    key = hashlib.sha256(corpus.fingerprint().encode()).hexdigest()[:16]
    file = folder / f"{archive.stem}-{key}.npz"
    if (before := kept(file, _read, console)) is not None:
        return before
    rows = corpus.rows()
    clips, speech = [], []
    for clip in watched(corpus.clips(rows), len(rows), f"{archive.stem}, Silero", console):
        samples = read(clip.audio, SAMPLE_RATE_HZ).samples
        samples = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES))
        clips.append((np.clip(samples, -1.0, 1.0) * 32767.0).astype(np.int16))
        speech.append(silero.probabilities(samples))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ends = np.cumsum([len(found) for found in speech])
    write_arrays(file, samples=np.concatenate(clips), speech=np.concatenate(speech), ends=ends)
    return _read(file)


def _read(file: Path) -> list[Clip]:
    saved = read_arrays(file)
    samples, speech, ends = saved["samples"], saved["speech"], saved["ends"]
    starts = np.concatenate([[0], ends[:-1]])
    return [
        (samples[a * FRAME_SAMPLES : b * FRAME_SAMPLES].astype(np.float32) / 32767.0, speech[a:b])
        for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


@dataclass(frozen=True)
class Noise:
    """A clip of noise at 16 kHz; source: the recording that it was cut from, of which there may be others."""

    source: str
    samples: Samples

    @property
    def held_out(self) -> bool:
        """Whether it is kept for measuring: a recording in so many, with all that was cut from it."""
        return int.from_bytes(hashlib.sha256(self.source.encode()).digest()[:8]) % HELD_OUT == 0


def noises(archive: Path) -> dict[str, list[Noise]]:
    """Clips of noise by kind."""
    found: dict[str, list[Noise]] = {}
    corpus = open_corpus(str(archive))
    for clip in corpus.clips(corpus.rows()):
        kind = clip.path.split("/")[1] if clip.path.count("/") > 1 else clip.path.split("/")[0]
        found.setdefault(kind, []).append(Noise(source_of(clip.path), read(clip.audio, SAMPLE_RATE_HZ).samples))
    return found


def source_of(path: str) -> str:
    """The recording that a clip was cut from: ESC-10 names clips FOLD-SOURCE-TAKE; another one is a source itself."""
    parts = PurePosixPath(path).stem.split("-")
    return parts[1] if len(parts) >= 3 and parts[1].isdecimal() else path
