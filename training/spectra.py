"""Waveform → the power spectra of a front end's frames, as the exported graph computes them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from speakerdb.features.filter_bank import FilterBank, povey_window
from training.front_ends import FrontEnd

Matrix = npt.NDArray[np.float64]


class ConvolvedSpectrum(layers.Layer):
    """Waveform [batch, samples] → power [batch, frames, lines], by one convolution with a front end's kernel."""

    def __init__(self, front_end: FrontEnd, lines: npt.NDArray[np.intp], **options: Any) -> None:
        super().__init__(trainable=False, **options)
        self.shift = front_end.frame_shift_samples
        kernel = front_end.kernel()
        both = np.concatenate([lines, kernel.shape[1] // 2 + lines])
        self.kernel = kernel[:, both].astype(np.float32)[:, None, :]

    def call(self, waveform: keras.KerasTensor) -> keras.KerasTensor:
        """As many frames as lie wholly within."""
        spectrum = ops.conv(waveform[..., None], self.kernel, strides=self.shift, padding="valid")
        real, imaginary = ops.split(spectrum, 2, axis=-1)
        return ops.square(real) + ops.square(imaginary)


class HalvedSpectrum(layers.Layer):
    """The same of Kaldi's frames with half the multiplications.

    Its window is symmetric, so the sums and differences of samples as far from a frame's middle on either side hold
    the spectrum: the real part is the transform of the sums by cosines of the distance from the middle, the imaginary
    one that of the differences by sines. Taking the middle for the origin turns phases, and power has none. Two
    products of 200 rows take the place of one of 400.

    Pre-emphasis is applied to the whole waveform: a frame's first sample then has the one before it taken off instead
    of itself, but the window is 0 there. What is left of the frame's mean, m · (1 − a) for a pre-emphasis of a, is
    (Σ g − a · (last sample − sample before the first)) / length, with g the pre-emphasised frame; its transform is
    that of the window, so the first part is folded into the sums' matrix, and the second is one more row.
    """

    def __init__(self, bank: FilterBank, lines: npt.NDArray[np.intp], **options: Any) -> None:
        super().__init__(trainable=False, **options)
        hop, length = bank.frame_shift_samples, bank.frame_length_samples
        if not hop < length // 2 < 2 * hop < length:
            raise ValueError(f"frames of {length} samples every {hop}: their halves do not lie in three hops")
        self.bank = bank
        self.cosines, self.sines = (matrix.astype(np.float32) for matrix in halved_kernels(bank, lines))

    def call(self, waveform: keras.KerasTensor) -> keras.KerasTensor:
        """As many frames as lie wholly within."""
        hop, length = self.bank.frame_shift_samples, self.bank.frame_length_samples
        half = length // 2
        before = ops.pad(waveform, [[0, 0], [1, 0]])[:, :-1]
        emphasised = ops.pad(waveform - self.bank.preemphasis * before, [[0, 0], [0, 3 * hop - length]])
        whole = ops.shape(emphasised)[1] // hop * hop
        hops = layers.Reshape((-1, hop))(emphasised[:, :whole])  # two more than frames
        turned = hops[:, :, ::-1]  # `flip` comes out as five operations, which cost what is to be saved
        left = ops.concatenate([hops[:, :-2], hops[:, 1:-1, : half - hop]], axis=2)
        right = ops.concatenate([turned[:, 2:, 3 * hop - length :], turned[:, 1:-1, : 2 * hop - half]], axis=2)
        ends = waveform[:, length - 1 :: hop] - before[:, : 1 - length : hop]
        real = ops.matmul(ops.concatenate([left + right, ends[..., None]], axis=2), self.cosines)
        imaginary = ops.matmul(left - right, self.sines)
        return ops.square(real) + ops.square(imaginary)


def halved_kernels(bank: FilterBank, lines: npt.NDArray[np.intp]) -> tuple[Matrix, Matrix]:
    """The matrices of sums and of differences.

    Returns: float64 [length / 2 + 1, lines], the last row for the samples at the ends, and [length / 2, lines].
    """
    length = bank.frame_length_samples
    half = length // 2
    window = povey_window(bank)[:half]
    from_middle = np.arange(half) - (length - 1) / 2.0
    angles = 2.0 * np.pi * np.outer(from_middle, lines) / bank.fft_samples
    cosines = window[:, None] * np.cos(angles)
    mean = -2.0 * cosines.sum(axis=0, keepdims=True) / length  # the window's transform: both halves
    sums = np.concatenate([cosines + mean, -bank.preemphasis * mean])
    return bank.scale * sums, bank.scale * window[:, None] * np.sin(angles)
