"""The seed's front end against TensorFlow's own and against a plain loop in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_corpus import EXAMPLES

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

import tensorflow as tf

from speakerdb import audio
from speakerdb.features.filter_bank import FilterBank, log_mel
from training.front_ends import FRONT_ENDS

SEEDS = ["seed-48k", "seed-16k"]


def voice(rate_hz: int, seconds: float = 1.3) -> np.ndarray:
    """With noise at −60 dB above 8 kHz, where the examples have nothing."""
    samples = audio.read(str(EXAMPLES / "ana_1.wav"), rate_hz).samples[: round(seconds * rate_hz)]
    return samples + 1e-3 * np.random.default_rng(1).standard_normal(len(samples)).astype(np.float32)


def by_tensorflow(samples: np.ndarray, bank) -> np.ndarray:
    spectrum = tf.signal.stft(
        samples, bank.frame_length_samples, bank.frame_shift_samples, bank.fft_samples, pad_end=True
    )
    mel = tf.signal.linear_to_mel_weight_matrix(
        bank.bins, bank.fft_samples // 2 + 1, bank.rate_hz, bank.low_hz, bank.high_hz
    )
    return tf.math.log(tf.abs(spectrum) @ mel + 1e-6).numpy()


def plainly(samples: np.ndarray, bank) -> np.ndarray:
    """Frame by frame, line by line, in double precision."""
    edges = np.linspace(
        2595.0 * np.log10(1.0 + bank.low_hz / 700.0), 2595.0 * np.log10(1.0 + bank.high_hz / 700.0), bank.bins + 2
    )
    rows = []
    for start in range(0, len(samples), bank.frame_shift_samples):
        frame = samples[start : start + bank.frame_length_samples].astype(np.float64)
        frame = np.pad(frame, (0, bank.frame_length_samples - len(frame)))
        at = np.arange(bank.frame_length_samples)
        magnitudes = np.abs(np.fft.rfft(frame * np.sin(np.pi * at / bank.frame_length_samples) ** 2, bank.fft_samples))
        bins = np.zeros(bank.bins)
        for line, magnitude in enumerate(magnitudes):
            place = 2595.0 * np.log10(1.0 + line * bank.rate_hz / bank.fft_samples / 700.0)
            rising, falling = (place - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - place) / np.diff(edges)[1:]
            bins += magnitude * np.maximum(0.0, np.minimum(rising, falling))
        rows.append(np.log(bins + 1e-6))
    return np.array(rows)


@pytest.mark.parametrize("name", SEEDS)
@pytest.mark.parametrize("reference", [by_tensorflow, plainly])
def test_the_seeds_front_end_equals_its_references(name, reference):
    bank = FRONT_ENDS[name]
    samples = voice(bank.rate_hz)
    found, expected = bank.log_mel(samples), reference(samples, bank)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 2e-3


@pytest.mark.parametrize("name", SEEDS)
def test_the_matrices_give_what_the_fast_transform_gives(name):
    bank = FRONT_ENDS[name]
    samples = voice(bank.rate_hz)
    padded = np.pad(samples.astype(np.float64), (0, bank.frame_length_samples - 1))
    framed = np.lib.stride_tricks.sliding_window_view(padded, bank.frame_length_samples)[:: bank.frame_shift_samples]
    real, imaginary = np.split(framed @ bank.kernel(), 2, axis=1)
    expected = bank.log_energy(real**2 + imaginary**2, bank.filters(), np)
    assert np.abs(bank.log_mel(samples) - expected).max() <= 2e-3


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("samples", [0, 1, 255, 256, 257, 399, 400, 4_801])
def test_there_are_as_many_frames_as_it_says(name, samples):
    bank = FRONT_ENDS[name]
    found = bank.log_mel(np.zeros(samples, np.float32))
    assert found.shape == (bank.frames(samples), 80)
    assert found.dtype == np.float32


@pytest.mark.parametrize("name", SEEDS)
def test_digital_silence_is_the_logarithm_of_the_offset(name):
    assert np.allclose(FRONT_ENDS[name].log_mel(np.zeros(2_000, np.float32)), np.log(1e-6), atol=1e-5)


def test_the_kaldi_front_end_is_the_package_s_own():
    samples = voice(16_000)
    assert np.array_equal(FRONT_ENDS["kaldi-16k"].log_mel(samples), log_mel(samples, FilterBank()))
