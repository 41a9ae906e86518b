"""The filter bank of our own graphs: Kaldi's, written as two matrices.

One convolution and one matrix product inside the graph compute it (`frame_kernel`, `mel_filters`); `log_mel` is the
same in NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

LOG_FLOOR = float(np.finfo(np.float32).eps)
"""Kaldi's floor under the mel energies before the logarithm (samples scaled to ±32768)."""


@dataclass(frozen=True)
class FilterBank:
    """Parameters of Kaldi's filter bank, in Kaldi's words and defaults (feature-fbank.h); dither is always 0."""

    rate_hz: int = 16_000
    bins: int = 80
    frame_length_samples: int = 400
    frame_shift_samples: int = 160
    fft_samples: int = 512
    low_hz: float = 20.0
    high_hz: float = 8_000.0
    preemphasis: float = 0.97
    scale: float = 32_768.0

    def frames(self, samples: int) -> int:
        """Frames in so many samples; a frame that would reach beyond the end is left out (snip_edges)."""
        return max(0, 1 + (samples - self.frame_length_samples) // self.frame_shift_samples)


@lru_cache(maxsize=4)
def frame_kernel(bank: FilterBank) -> npt.NDArray[np.float64]:
    """Everything linear that Kaldi does to a frame, as one matrix.

    Scaling, removal of the frame's mean, pre-emphasis, Povey's window and the discrete Fourier transform.
    Returns: float64 [frame_length_samples, 2 · (fft_samples / 2 + 1)]; real parts first, then imaginary ones.
    """
    length = bank.frame_length_samples
    mean_removed = np.eye(length) - 1.0 / length
    shifted = np.eye(length, k=1)
    shifted[0, 0] = 1.0  # Kaldi takes the first sample as its own predecessor
    preemphasised = np.eye(length) - bank.preemphasis * shifted
    bins = np.arange(bank.fft_samples // 2 + 1)
    angles = -2.0 * np.pi * np.outer(np.arange(length), bins) / bank.fft_samples
    transform = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    kernel: npt.NDArray[np.float64] = bank.scale * (mean_removed @ preemphasised * povey_window(bank)) @ transform
    return kernel


def povey_window(bank: FilterBank) -> npt.NDArray[np.float64]:
    """Hann's window to the power 0.85: float64 [frame_length_samples], 0 at both ends."""
    length = bank.frame_length_samples
    window: npt.NDArray[np.float64] = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / (length - 1))) ** 0.85
    return window


@lru_cache(maxsize=4)
def mel_filters(bank: FilterBank) -> npt.NDArray[np.float64]:
    """Triangles on the mel scale, 1127 · ln(1 + f / 700), over the bins of the power spectrum.

    Returns: float64 [fft_samples / 2 + 1, bins], 0 to 1.
    """

    def mel(hertz: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return 1127.0 * np.log1p(np.asarray(hertz, dtype=np.float64) / 700.0)

    edges = np.linspace(mel(bank.low_hz), mel(bank.high_hz), bank.bins + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    points = mel(np.arange(bank.fft_samples // 2 + 1) * bank.rate_hz / bank.fft_samples)[:, None]
    triangles = np.minimum((points - left) / (centre - left), (right - points) / (right - centre))
    triangles[-1] = 0.0  # Kaldi leaves out the bin at half the rate
    return np.maximum(triangles, 0.0)


def log_mel(samples: npt.NDArray[np.float32], bank: FilterBank) -> npt.NDArray[np.float32]:
    """Kaldi's log mel filter bank in NumPy; the mean over time is not removed.

    Args: samples: float32 [samples], −1 to 1, at the bank's rate.
    Returns: float32 [frames, bins], natural logarithm of energy.
    """
    if bank.frames(len(samples)) == 0:
        return np.zeros((0, bank.bins), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, bank.frame_length_samples)
    spectrum = frames[:: bank.frame_shift_samples] @ frame_kernel(bank).astype(np.float32)
    half = bank.fft_samples // 2 + 1
    power = spectrum[:, :half] ** 2 + spectrum[:, half:] ** 2
    energy: npt.NDArray[np.float32] = power @ mel_filters(bank).astype(np.float32)
    return np.log(np.maximum(energy, np.float32(LOG_FLOOR)))
