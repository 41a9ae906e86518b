"""Samples → the probability that somebody speaks, for each frame of 32 ms.

A small convolutional network over log-mel energies, taught by Silero's model on clean speech and asked about the same
speech in noise (`python -m training speech`, docs/LOG.md). It sees a second on either side of a frame.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from speakerdb.errors import StorageError, printable
from speakerdb.product import product

Samples: TypeAlias = npt.NDArray[np.float32]
"""float32 [samples], mono, −1 to 1, at `SAMPLE_RATE_HZ`."""

MODEL = Path(__file__).parent / "vad" / "speakerdb_vad_16k.onnx"
MODEL_SHA256 = "65f7243181751e5537a33375c01fdd1bef98a1ff6aa1b7cc7600d7d69f93b5c0"
MEND = "install it again: pip install --force-reinstall --no-deps speakerdb"

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 512
HOP_SAMPLES = FRAME_SAMPLES // 2
"""Two feature frames begin in each frame; each is 512 samples long."""

BINS = 40
REACH_FRAMES = 31
"""Frames on either side that the network's dilated convolutions see, beside those of its first layer."""
FIRST_BEFORE, FIRST_AFTER = 2, 3
"""Feature frames before a frame's first, and after it, that the first layer sees."""

SAMPLES_BEFORE = REACH_FRAMES * FRAME_SAMPLES + FIRST_BEFORE * HOP_SAMPLES
"""What is computed from before a frame begins."""

RUN_FRAMES = 256
"""Frames in one call, 8 s. Runs begin at multiples of it, so that the size of blocks changes no bit."""

WINDOWS_AT_ONCE = 64
"""128 KB: what stays in the processor's cache is done in half the time."""

LEAST_POWER = 1e-7
"""Under the mel energies of samples of ±1: about −70 dBFS, the noise of a quiet room."""


class SpeechDetector:
    """The network over one recording, block by block; one object a recording and a thread.

    Raises: StorageError where the model's file is missing or not the one that speakerdb ships.
    """

    def __init__(self, model: Path = MODEL) -> None:
        self._session = _session(model)
        self._held = np.zeros(SAMPLES_BEFORE, np.float32)  # from where the next run's first features begin
        self._samples = self._frames = 0

    def detect(self, samples: Samples) -> npt.NDArray[np.float32]:
        """The recording's next block → the probabilities of speech that are known by now, in order.

        Args: samples: [any length]. Returns: float32 [frames], 0 to 1; a second and up to a run behind.
        Raises: ValueError for another shape.
        """
        if samples.ndim != 1:
            raise ValueError(f"samples of shape {samples.shape}; [samples] is needed")
        self._samples += len(samples)
        self._held = np.concatenate([self._held, samples], dtype=np.float32)
        found = []
        while len(self._held) >= samples_for(RUN_FRAMES):
            found.append(self._run(RUN_FRAMES))
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    def finish(self) -> npt.NDArray[np.float32]:
        """The recording has ended: the probabilities of its last frames, ⌈samples / 512⌉ in all."""
        left = -(-self._samples // FRAME_SAMPLES) - self._frames
        if not left:
            return np.zeros(0, np.float32)
        missing = max(0, samples_for(left) - len(self._held))
        self._held = np.concatenate([self._held, np.zeros(missing, np.float32)])
        found = [self._run(min(RUN_FRAMES, left - done)) for done in range(0, left, RUN_FRAMES)]
        return np.concatenate(found)

    def _run(self, frames: int) -> npt.NDArray[np.float32]:
        features = log_mel(self._held[: samples_for(frames)])
        self._held = self._held[frames * FRAME_SAMPLES :]
        self._frames += frames
        found: npt.NDArray[np.float32] = self._session.run(None, {"features": features.T[None]})[0][0]
        return found


def log_mel(samples: Samples) -> npt.NDArray[np.float32]:
    """Natural logarithms of mel energies: float32 [frames of 512 samples, a hop of 256; 40], less a level of speech."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, FRAME_SAMPLES)[::HOP_SAMPLES]
    energies = np.zeros((len(windows), BINS), np.float32)
    first, end = _sounding(samples)
    for start in range(first, end, WINDOWS_AT_ONCE):
        chosen = slice(start, min(start + WINDOWS_AT_ONCE, end))
        energies[chosen] = product(power(np.fft.rfft(windows[chosen] * _window(), axis=1)), _filters())
    found: npt.NDArray[np.float32] = (np.log(energies + LEAST_POWER) + 6.0) / 4.0
    return found


def power(spectrum: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Squared magnitudes of complex64, without the roots that `abs` would draw."""
    found: npt.NDArray[np.float32] = np.square(spectrum.real) + np.square(spectrum.imag)
    return found


def _sounding(samples: Samples) -> tuple[int, int]:
    """The windows outside of which all is zeros, as before and after a recording: a third of a short one's."""
    sounds = samples != 0.0
    first = int(sounds.argmax())
    if not sounds[first]:
        return 0, 0
    last = len(samples) - 1 - int(sounds[::-1].argmax())
    windows = 1 + (len(samples) - FRAME_SAMPLES) // HOP_SAMPLES
    return max(0, first - FRAME_SAMPLES + 1) // HOP_SAMPLES, min(windows, last // HOP_SAMPLES + 1)


def samples_for(frames: int) -> int:
    """Samples that so many frames are computed from."""
    features = 2 * (frames - 1) + FIRST_BEFORE + FIRST_AFTER + 4 * REACH_FRAMES
    return features * HOP_SAMPLES + FRAME_SAMPLES


@functools.cache
def _window() -> npt.NDArray[np.float32]:
    window = np.hanning(FRAME_SAMPLES)
    found: npt.NDArray[np.float32] = (window / np.sqrt(np.square(window).sum())).astype(np.float32)
    return found


@functools.cache
def _filters() -> npt.NDArray[np.float32]:
    """Triangles on the mel scale (1127 · ln(1 + f / 700)) from 60 to 7,600 Hz, their weights' sum 1: [257, 40]."""
    mels = 1127.0 * np.log1p(np.arange(FRAME_SAMPLES // 2 + 1) * SAMPLE_RATE_HZ / FRAME_SAMPLES / 700.0)
    low, high = 1127.0 * np.log1p(60.0 / 700.0), 1127.0 * np.log1p(7600.0 / 700.0)
    edges = np.linspace(low, high, BINS + 2)
    rising = (mels[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mels[:, None]) / (edges[2:] - edges[1:-1])
    weights = np.clip(np.minimum(rising, falling), 0.0, None)
    found: npt.NDArray[np.float32] = (weights / weights.sum(axis=0)).astype(np.float32)
    return found


@functools.cache
def _session(model: Path) -> Any:
    """One session a process and model: its `run` may be called from many threads at once."""
    name = printable(model, 200)
    try:
        content = model.read_bytes()
    except OSError as error:
        raise StorageError(f"{name}: cannot be read ({error.strerror}); {MEND}", path=str(model)) from error
    if hashlib.sha256(content).hexdigest() != MODEL_SHA256:
        raise StorageError(f"{name}: not the speech detector of speakerdb; {MEND}", path=str(model))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
