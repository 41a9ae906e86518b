"""The front ends that a network can be trained on, by name: samples → log mel frames.

`kaldi-16k` is Kaldi's filter bank (`speakerdb.features`). `seed-48k` is the one of SpeechIdentity: magnitudes of a
windowed Fourier transform every 256 samples of 48 kHz, 80 mel bins up to 10 kHz, ln(x + 1e-6). `seed-16k` is the same
at 16 kHz, for telling what the band above 8 kHz is worth.

Each is written as two matrices and a formula (`kernel`, `filters`, `log_energy`), so that the exported graph is one
convolution and one product. The level of a clip is left in: taking it off is the network's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from speakerdb.features.filter_bank import LOG_FLOOR, FilterBank, frame_kernel, log_mel, mel_filters

Matrix = npt.NDArray[np.float64]

SEED_OFFSET = 1e-6
"""Added to the mel magnitudes before the logarithm."""

BLOCK_FRAMES = 128
"""Transformed at once: a megabyte stays in the cache, which nearly halves the time."""


class FrontEnd(Protocol):
    """What caching, training and exporting know of a front end; a frozen dataclass of its parameters."""

    @property
    def name(self) -> str:
        """Its key in `FRONT_ENDS`."""

    @property
    def rate_hz(self) -> int:
        """Of the samples."""

    @property
    def bins(self) -> int:
        """Of a frame."""

    @property
    def frame_length_samples(self) -> int:
        """Samples that a frame sees."""

    @property
    def frame_shift_samples(self) -> int:
        """Samples from one frame to the next."""

    @property
    def pads_end(self) -> bool:
        """Whether frames reach beyond the end, into zeros: every shift has one. Else a frame must fit."""

    def frames(self, samples: int) -> int:
        """Frames in so many samples."""

    def log_mel(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """float32 [samples], −1 to 1, at `rate_hz` → float32 [frames, bins], natural logarithm."""

    def kernel(self) -> Matrix:
        """Windowed Fourier transform: [frame_length_samples, 2 · lines]; real parts first, then imaginary ones."""

    def filters(self) -> Matrix:
        """[lines, bins]: what each of the kernel's lines gives to each bin."""

    def log_energy(self, power: Any, filters: Any, math: Any) -> Any:
        """[…, lines] squared magnitudes → […, bins]; `math` is NumPy or keras.ops."""


def heard_lines(front_end: FrontEnd) -> npt.NDArray[np.intp]:
    """The numbers of the kernel's lines that any bin hears, which are all that a graph computes."""
    return np.flatnonzero(front_end.filters().any(axis=1))


@dataclass(frozen=True)
class KaldiBank(FilterBank):
    """Kaldi's filter bank, from the power spectrum."""

    name: str = "kaldi-16k"
    pads_end: bool = False

    def log_mel(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """As `speakerdb.features.filter_bank.log_mel`."""
        return log_mel(samples, self)

    def kernel(self) -> Matrix:
        """As `speakerdb.features.filter_bank.frame_kernel`."""
        return frame_kernel(self)

    def filters(self) -> Matrix:
        """As `speakerdb.features.filter_bank.mel_filters`."""
        return mel_filters(self)

    def log_energy(self, power: Any, filters: Any, math: Any) -> Any:
        """ln max(energy, floor)."""
        return math.log(math.maximum(math.matmul(power, filters), LOG_FLOOR))


@dataclass(frozen=True)
class SeedBank:
    """SpeechIdentity's mel spectrogram, from magnitudes; windows are Hann's, periodic, of an even length."""

    name: str
    rate_hz: int
    frame_length_samples: int
    frame_shift_samples: int
    fft_samples: int
    high_hz: float
    low_hz: float = 80.0
    bins: int = 80
    pads_end: bool = True

    def frames(self, samples: int) -> int:
        """One every shift as long as there are samples; the last reach into zeros beyond the end."""
        return -(-samples // self.frame_shift_samples)

    def log_mel(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """By the fast transform: the matrix of `kernel` would take ten times as long on a CPU."""
        if not len(samples):
            return np.zeros((0, self.bins), np.float32)
        padded = np.pad(samples.astype(np.float32, copy=False), (0, self.frame_length_samples - 1))
        framed = np.lib.stride_tricks.sliding_window_view(padded, self.frame_length_samples)
        framed = framed[:: self.frame_shift_samples]
        return np.concatenate(
            [self._block(framed[at : at + BLOCK_FRAMES]) for at in range(0, len(framed), BLOCK_FRAMES)]
        )

    def _block(self, framed: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        windowed = framed * self._window().astype(np.float32)
        spectrum = np.fft.rfft(windowed, self.fft_samples, axis=1)[:, self._lines()]
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        found: npt.NDArray[np.float32] = self.log_energy(power, self.filters().astype(np.float32), np)
        return found

    def kernel(self) -> Matrix:
        """The window and the transform's lines that any bin hears: at 48 kHz 213 of 513."""
        at = np.arange(self.frame_length_samples)
        angles = -2.0 * np.pi * np.outer(at, self._lines()) / self.fft_samples
        transform: Matrix = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        return self._window()[:, None] * transform

    def filters(self) -> Matrix:
        """Triangles on the mel scale 1127 · ln(1 + f / 700), as tf.signal.linear_to_mel_weight_matrix has them."""
        return _triangles(self)[self._lines()]

    def log_energy(self, power: Any, filters: Any, math: Any) -> Any:
        """ln(mel magnitude + 1e-6)."""
        return math.log(math.matmul(math.sqrt(power), filters) + np.float32(SEED_OFFSET))

    def _window(self) -> Matrix:
        length = self.frame_length_samples
        return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / length)

    def _lines(self) -> npt.NDArray[np.intp]:
        return np.flatnonzero(_triangles(self).any(axis=1))


@lru_cache(maxsize=4)
def _triangles(bank: SeedBank) -> Matrix:
    """[fft_samples / 2 + 1, bins]."""

    def mel(hertz: npt.ArrayLike) -> Matrix:
        found: Matrix = 1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0)
        return found

    edges = np.linspace(mel(bank.low_hz), mel(bank.high_hz), bank.bins + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    points = mel(np.arange(bank.fft_samples // 2 + 1) * bank.rate_hz / bank.fft_samples)[:, None]
    return np.maximum(np.minimum((points - left) / (centre - left), (right - points) / (right - centre)), 0.0)


FRONT_ENDS: dict[str, FrontEnd] = {
    bank.name: bank
    for bank in (
        KaldiBank(),
        SeedBank("seed-48k", 48_000, 1_024, 256, 1_024, high_hz=10_000.0),
        # 1,024 and 256 thirds of a sample: 21.4 ms (seed: 21.3) every 5.31 ms (seed: 5.33), an even window.
        SeedBank("seed-16k", 16_000, 342, 85, 512, high_hz=7_600.0),
    )
}
