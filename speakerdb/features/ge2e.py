"""The front end of Resemblyzer's GE2E encoder: mel power, not its logarithm, in windows of 1.6 s.

Samples are float32 at 16 kHz. A clip's vector is the mean of its windows' vectors, brought to unit length.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

RATE_HZ = 16_000
LEVEL_DBFS = -30.0
"""Quieter clips are raised to it; louder ones stay as they are."""

WINDOW_SAMPLES, HOP_SAMPLES = 400, 160
BINS = 40
FRAMES = 160
"""Of a window that the network hears: 1.6 s."""
STEP = round(RATE_HZ / 1.3 / HOP_SAMPLES)
"""Frames from one window to the next: 1.3 windows a second."""
LEAST_COVERED = 0.75
"""Of the last window; with less it is left out."""

LINEAR_HZ, BREAK_HZ, BREAK_MEL = 200.0 / 3.0, 1000.0, 15.0
LOG_STEP = np.log(6.4) / 27.0
"""Slaney's scale: linear up to 1 kHz, 27 steps for each factor of 6.4 above (Auditory Toolbox, 1998)."""

Matrix = npt.NDArray[np.float64]


def ge2e_windows(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Windows of mel power of a clip: float32 [windows, 160, 40], at least one window."""
    wave = samples.astype(np.float64)
    level = 10.0 * np.log10(np.mean(wave**2) + 1e-20)
    wave = wave * 10.0 ** (max(0.0, LEVEL_DBFS - level) / 20.0)
    starts = window_starts(len(wave))
    needed = (starts[-1] + FRAMES) * HOP_SAMPLES
    centred = np.pad(wave, (WINDOW_SAMPLES // 2, max(0, needed - len(wave)) + WINDOW_SAMPLES // 2))
    framed = np.lib.stride_tricks.sliding_window_view(centred, WINDOW_SAMPLES)[::HOP_SAMPLES]
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)
    mel = (np.abs(np.fft.rfft(framed * hann, axis=1)) ** 2 @ slaney_filters()).astype(np.float32)
    return np.stack([mel[start : start + FRAMES] for start in starts])


def window_starts(samples: int) -> list[int]:
    """First frame of each window of a clip of so many samples; at least one window."""
    frames = -(-(samples + 1) // HOP_SAMPLES)
    starts = list(range(0, max(1, frames - FRAMES + STEP + 1), STEP))
    covered = (samples - starts[-1] * HOP_SAMPLES) / (FRAMES * HOP_SAMPLES)
    return starts[:-1] if len(starts) > 1 and covered < LEAST_COVERED else starts


@lru_cache(maxsize=1)
def slaney_filters() -> Matrix:
    """[201, 40]: triangles on Slaney's mel scale, 0 to 8 kHz, each of area one, as librosa.filters.mel has them."""
    edges = _slaney_hertz(np.linspace(0.0, _slaney_mel(RATE_HZ / 2), BINS + 2))
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    lines = np.linspace(0.0, RATE_HZ / 2, WINDOW_SAMPLES // 2 + 1)[:, None]
    triangles = np.minimum((lines - left) / (centre - left), (right - lines) / (right - centre))
    found: Matrix = np.maximum(0.0, triangles) * 2.0 / (right - left)
    return found


def _slaney_mel(hertz: float) -> float:
    return hertz / LINEAR_HZ if hertz < BREAK_HZ else BREAK_MEL + float(np.log(hertz / BREAK_HZ)) / LOG_STEP


def _slaney_hertz(mel: Matrix) -> Matrix:
    return np.where(mel < BREAK_MEL, mel * LINEAR_HZ, BREAK_HZ * np.exp(LOG_STEP * (mel - BREAK_MEL)))
