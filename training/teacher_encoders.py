"""The published encoders that a student learns from, each with the front end that its makers gave it.

A teacher's graph is told by its file name. Samples are float32 at 16 kHz; vectors come out at unit length.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from speakerdb.audio import Samples
from speakerdb.embedding import Vector, normalize
from speakerdb.features import kaldi_fbank

RATE_HZ = 16_000
Matrix = npt.NDArray[np.float64]

CAMPPLUS_FBANK = {"bins": 80, "rate_hz": RATE_HZ, "low_hz": 20.0, "window": "povey", "scale": 32_768.0}

GE2E_LEVEL_DBFS = -30.0
GE2E_WINDOW, GE2E_HOP = 400, 160
GE2E_BINS = 40
GE2E_FRAMES = 160
"""Of a window that the network hears: 1.6 s."""
GE2E_STEP = round(RATE_HZ / 1.3 / GE2E_HOP)
"""Frames from one window to the next: 1.3 windows a second."""
GE2E_LEAST_COVERED = 0.75
"""Of the last window; with less it is left out."""


def open_teacher(graph: Path) -> Callable[[Samples], Vector]:
    """Samples → vector of the teacher in this file. Raises: ValueError for a file of another name."""
    kinds = {"campplus": campplus_input, "ge2e": ge2e_input}
    kind = next((kind for kind in kinds if graph.name.startswith(kind)), None)
    if kind is None:
        raise ValueError(f"{graph}: no teacher of that name is known; there are {', '.join(kinds)}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # clips run side by side
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def encode(samples: Samples) -> Vector:
        outputs = session.run(None, {name: kinds[kind](samples)})[0]
        return normalize(outputs.mean(axis=0))

    return encode


def campplus_input(samples: Samples) -> npt.NDArray[np.float32]:
    """Kaldi's filter bank, its mean over the clip taken off: float32 [1, frames, 80]."""
    return kaldi_fbank(samples, CAMPPLUS_FBANK)[None]


def ge2e_input(samples: Samples) -> npt.NDArray[np.float32]:
    """Resemblyzer's windows of mel power, quiet clips raised to −30 dBFS: float32 [windows, 160, 40]."""
    wave = samples.astype(np.float64)
    level = 10.0 * np.log10(np.mean(wave**2) + 1e-20)
    wave = wave * 10.0 ** (max(0.0, GE2E_LEVEL_DBFS - level) / 20.0)
    starts = ge2e_window_starts(len(wave))
    needed = (starts[-1] + GE2E_FRAMES) * GE2E_HOP
    centred = np.pad(wave, (GE2E_WINDOW // 2, max(0, needed - len(wave)) + GE2E_WINDOW // 2))
    framed = np.lib.stride_tricks.sliding_window_view(centred, GE2E_WINDOW)[::GE2E_HOP]
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(GE2E_WINDOW) / GE2E_WINDOW)
    mel = (np.abs(np.fft.rfft(framed * hann, axis=1)) ** 2 @ slaney_filters()).astype(np.float32)
    return np.stack([mel[start : start + GE2E_FRAMES] for start in starts])


def ge2e_window_starts(samples: int) -> list[int]:
    """First frame of each window of a clip of so many samples; at least one window."""
    frames = -(-(samples + 1) // GE2E_HOP)
    starts = list(range(0, max(1, frames - GE2E_FRAMES + GE2E_STEP + 1), GE2E_STEP))
    covered = (samples - starts[-1] * GE2E_HOP) / (GE2E_FRAMES * GE2E_HOP)
    return starts[:-1] if len(starts) > 1 and covered < GE2E_LEAST_COVERED else starts


@lru_cache(maxsize=1)
def slaney_filters() -> Matrix:
    """[201, 40]: triangles on Slaney's mel scale, 0 to 8 kHz, each of area one, as librosa.filters.mel has them."""
    edges = _slaney_hertz(np.linspace(0.0, _slaney_mel(RATE_HZ / 2), GE2E_BINS + 2))
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    lines = np.linspace(0.0, RATE_HZ / 2, GE2E_WINDOW // 2 + 1)[:, None]
    triangles = np.minimum((lines - left) / (centre - left), (right - lines) / (right - centre))
    found: Matrix = np.maximum(0.0, triangles) * 2.0 / (right - left)
    return found


LINEAR_HZ, BREAK_HZ, BREAK_MEL = 200.0 / 3.0, 1000.0, 15.0
LOG_STEP = np.log(6.4) / 27.0
"""Slaney's scale: linear up to 1 kHz, 27 steps for each factor of 6.4 above (Auditory Toolbox, 1998)."""


def _slaney_mel(hertz: float) -> float:
    return hertz / LINEAR_HZ if hertz < BREAK_HZ else BREAK_MEL + float(np.log(hertz / BREAK_HZ)) / LOG_STEP


def _slaney_hertz(mel: Matrix) -> Matrix:
    return np.where(mel < BREAK_MEL, mel * LINEAR_HZ, BREAK_HZ * np.exp(LOG_STEP * (mel - BREAK_MEL)))
