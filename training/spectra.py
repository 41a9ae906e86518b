"""Waveform → the power spectra of a front end's frames, as Keras computes them within a network that is exported."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from training.front_ends import FrontEnd


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
