"""The exported graph's power spectra: those of the front ends' own kernels, of the lines that a mel filter hears."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from training.front_ends import FRONT_ENDS
from training.spectra import ConvolvedSpectrum, HalvedSpectrum

KALDI = FRONT_ENDS["kaldi-16k"]


def heard(front_end) -> np.ndarray:
    return np.flatnonzero(front_end.filters().any(axis=1))


def power(front_end, waveform: np.ndarray) -> np.ndarray:
    """In float64, frame by frame, with the whole kernel."""
    length, shift = front_end.frame_length_samples, front_end.frame_shift_samples
    frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(float), length)[::shift]
    real, imaginary = np.split(frames @ front_end.kernel(), 2, axis=1)
    return (real**2 + imaginary**2)[:, heard(front_end)]


def noise(samples: int) -> np.ndarray:
    """With an offset, which has to go, and much more at low frequencies than at high ones, as speech has."""
    return (0.2 + 0.01 * np.cumsum(np.random.default_rng(1).standard_normal(samples))).astype(np.float32)


# One frame, and from the last sample before a frame more to the first one after it.
@pytest.mark.parametrize("samples", [400, 401, 559, 560, 561, 719, 720, 16_000, 16_117])
def test_half_the_multiplications_give_the_same_power(samples):
    waveform = noise(samples)
    found, expected = np.asarray(HalvedSpectrum(KALDI, heard(KALDI))(waveform[None]))[0], power(KALDI, waveform)
    assert found.shape == expected.shape == (KALDI.frames(samples), 255)
    assert np.abs(found - expected).max() <= 2e-6 * expected.max()


def test_clips_of_a_batch_do_not_see_each_other():
    both = np.stack([noise(2_000), noise(2_000)[::-1]])
    layer = HalvedSpectrum(KALDI, heard(KALDI))
    together, alone = np.asarray(layer(both)), np.asarray(layer(both[1:]))[0]
    assert np.abs(together[1] - alone).max() <= 1e-6 * alone.max()


def test_frames_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="every 240"):
        HalvedSpectrum(replace(KALDI, frame_shift_samples=240), heard(KALDI))


@pytest.mark.parametrize("name", ["seed-16k", "kaldi-16k"])
def test_a_convolution_gives_the_power_of_any_front_end(name):
    front_end, waveform = FRONT_ENDS[name], noise(4_000)
    found = np.asarray(ConvolvedSpectrum(front_end, heard(front_end))(waveform[None]))[0]
    expected = power(front_end, waveform)
    assert np.abs(found - expected).max() <= 1e-5 * expected.max()
