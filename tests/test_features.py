"""The filter bank against Kaldi's own, and against its definition written out as a loop in float64."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from speakerdb import audio
from speakerdb.features.filter_bank import LOG_FLOOR, FilterBank, frame_kernel, log_mel, mel_filters
from speakerdb.features.ge2e import ge2e_windows, slaney_filters
from speakerdb.features.kaldi import kaldi_fbank

EXAMPLES = Path(__file__).parents[1] / "examples"
BANK = FilterBank()
CARD = {"kind": "kaldi-fbank", "bins": 80, "rate_hz": 16_000, "subtract_mean": False}

Samples = npt.NDArray[np.float32]


def example(name: str) -> Samples:
    return audio.read(str(EXAMPLES / f"{name}.wav"), 16_000).samples


def white_noise(rms: float) -> Samples:
    return (rms * np.random.default_rng(1).standard_normal(24_000)).astype(np.float32)


SOUNDS = {
    "a woman": lambda: example("ana_1"),
    "a man": lambda: example("ben_2"),
    "a voice with little above 7 kHz": lambda: example("slt_1"),
    "a quiet voice": lambda: np.float32(0.01) * example("eva_3"),
    "a very quiet voice": lambda: np.float32(0.001) * example("kal_1"),
    "loud noise": lambda: white_noise(0.5),
    "faint noise": lambda: white_noise(1e-5),
}
sounds = pytest.mark.parametrize("sound", SOUNDS.values(), ids=SOUNDS.keys())


def mel(hertz: float) -> float:
    return 1127.0 * math.log(1.0 + hertz / 700.0)


def triangle(bin_: int, bank: FilterBank) -> npt.NDArray[np.float64]:
    """The weights of one mel bin over the power spectrum, as Kaldi's mel-computations.cc has them."""
    step = (mel(bank.high_hz) - mel(bank.low_hz)) / (bank.bins + 1)
    left = mel(bank.low_hz) + bin_ * step
    centre, right = left + step, left + 2 * step
    weights = np.zeros(bank.fft_samples // 2 + 1)
    for index in range(bank.fft_samples // 2):
        at = mel(index * bank.rate_hz / bank.fft_samples)
        if left < at <= centre:
            weights[index] = (at - left) / (centre - left)
        elif centre < at < right:
            weights[index] = (right - at) / (right - centre)
    return weights


def by_the_definition(samples: Samples, bank: FilterBank) -> npt.NDArray[np.float64]:
    length = bank.frame_length_samples
    window = [(0.5 - 0.5 * math.cos(2 * math.pi * i / (length - 1))) ** 0.85 for i in range(length)]
    triangles = np.stack([triangle(bin_, bank) for bin_ in range(bank.bins)])
    rows = []
    start = 0
    while start + length <= len(samples):
        frame = samples[start : start + length].astype(np.float64) * bank.scale
        frame = frame - frame.mean()
        emphasised = frame.copy()
        for i in range(1, length):
            emphasised[i] = frame[i] - bank.preemphasis * frame[i - 1]
        emphasised[0] = frame[0] - bank.preemphasis * frame[0]
        power = np.abs(np.fft.rfft(emphasised * window, bank.fft_samples)) ** 2
        rows.append(np.log(np.maximum(triangles @ power, np.finfo(np.float32).eps)))
        start += bank.frame_shift_samples
    return np.array(rows).reshape(-1, bank.bins)


def largest_difference(
    found: npt.NDArray[np.float32], expected: npt.NDArray[np.floating], within_db: float = math.inf
) -> float:
    """Over the bins that are so many dB below the loudest of their frame, or less."""
    assert found.shape == expected.shape
    audible = expected >= expected.max(axis=1, keepdims=True) - within_db * math.log(10) / 10
    return float(np.abs(found.astype(np.float64) - expected)[audible].max())


# Both are float32: a bin 65 dB below its frame's loudest keeps three digits, whoever computes it.
@sounds
def test_it_equals_kaldi_native_fbank(sound):
    pytest.importorskip("kaldi_native_fbank", reason="kaldi-native-fbank is not installed (the extra kaldi)")
    samples = sound()
    found, kaldi = log_mel(samples, BANK), kaldi_fbank(samples, CARD)
    assert largest_difference(found, kaldi, within_db=45.0) <= 1e-3
    assert np.quantile(np.abs(found - kaldi), 0.99) <= 1e-3
    assert largest_difference(found, kaldi) <= 1e-2


@sounds
def test_it_equals_the_definition_in_float64(sound):
    samples = sound()[:16_000]
    found, defined = log_mel(samples, BANK), by_the_definition(samples, BANK)
    assert largest_difference(found, defined, within_db=45.0) <= 1e-3
    assert np.quantile(np.abs(found - defined), 0.99) <= 1e-3
    assert largest_difference(found, defined) <= 1e-2


def test_another_filter_bank_equals_its_definition_too():
    bank = FilterBank(
        rate_hz=8_000,
        bins=23,
        frame_length_samples=200,
        frame_shift_samples=80,
        fft_samples=256,
        low_hz=64.0,
        high_hz=3_800.0,
    )
    samples = white_noise(0.1)[:8_000]
    assert largest_difference(log_mel(samples, bank), by_the_definition(samples, bank)) <= 1e-3


def test_frames_that_would_reach_beyond_the_end_are_left_out():
    for samples in (0, 1, 399, 400, 559, 560, 719, 720, 16_000, 48_017):
        starts = [start for start in range(0, samples, 160) if start + 400 <= samples]
        assert BANK.frames(samples) == len(starts)
        assert log_mel(np.zeros(samples, np.float32), BANK).shape == (len(starts), 80)


def test_kaldi_counts_the_same_frames():
    pytest.importorskip("kaldi_native_fbank", reason="kaldi-native-fbank is not installed (the extra kaldi)")
    for samples in (0, 399, 400, 559, 560, 16_000):
        for subtract_mean in (False, True):
            frames = kaldi_fbank(np.zeros(samples, np.float32), {**CARD, "subtract_mean": subtract_mean})
            assert frames.shape == (BANK.frames(samples), 80)
            assert frames.dtype == np.float32


def test_a_clip_shorter_than_a_frame_has_no_frames():
    found = log_mel(np.ones(399, np.float32), BANK)
    assert found.shape == (0, 80)
    assert found.dtype == np.float32


def test_digital_silence_is_the_floor():
    found = log_mel(np.zeros(4_000, np.float32), BANK)
    assert np.all(found == np.float32(math.log(2.0**-23)))
    assert LOG_FLOOR == 2.0**-23  # Kaldi's: the epsilon of a float


def test_twice_the_amplitude_adds_ln_4_to_every_bin():
    samples = white_noise(0.05)
    louder = log_mel(np.float32(2.0) * samples, BANK) - log_mel(samples, BANK)
    assert np.allclose(louder, math.log(4.0), atol=1e-5)


def test_a_constant_offset_changes_nothing_that_can_be_heard():
    samples = white_noise(0.05)
    assert np.allclose(log_mel(samples + np.float32(0.2), BANK), log_mel(samples, BANK), atol=1e-2)


def test_the_mean_over_time_is_taken_off_for_encoders_that_ask_for_it():
    pytest.importorskip("kaldi_native_fbank", reason="kaldi-native-fbank is not installed (the extra kaldi)")
    samples = example("rms_1")
    with_mean = kaldi_fbank(samples, CARD)
    without = kaldi_fbank(samples, {**CARD, "subtract_mean": True})
    assert np.abs(without.mean(axis=0)).max() <= 1e-4
    assert np.allclose(without, with_mean - with_mean.mean(axis=0, keepdims=True), atol=1e-5)


def test_parameters_that_kaldi_refuses_are_a_value_error():
    pytest.importorskip("kaldi_native_fbank", reason="kaldi-native-fbank is not installed (the extra kaldi)")
    with pytest.raises(ValueError, match="window"):
        kaldi_fbank(np.zeros(16_000, np.float32), {**CARD, "window": "no such window"})


def test_the_mel_filters_are_kaldis_triangles():
    found = mel_filters(BANK)
    assert found.shape == (257, 80)
    assert found.dtype == np.float64
    for bin_ in range(80):
        assert np.allclose(found[:, bin_], triangle(bin_, BANK), atol=1e-12)


def test_every_mel_filter_rises_to_one_peak_and_falls_again():
    found = mel_filters(BANK)
    assert found.min() == 0.0
    assert found.max() <= 1.0
    assert np.all(found[0] == 0.0)  # 0 Hz lies below the lowest edge
    assert np.all(found[-1] == 0.0)  # Kaldi leaves out half the rate
    peaks = found.argmax(axis=0)
    assert np.all(np.diff(peaks) >= 0)  # the lowest triangles are narrower than the spectrum's steps
    for bin_, peak in enumerate(peaks):
        assert found[peak, bin_] > 0.0
        assert np.all(np.diff(found[: peak + 1, bin_]) >= 0.0)
        assert np.all(np.diff(found[peak:, bin_]) <= 0.0)


def test_between_the_outermost_centres_the_triangles_sum_to_one():
    found = mel_filters(BANK)
    step = (mel(8_000.0) - mel(20.0)) / 81
    mels = np.array([mel(index * 16_000 / 512) for index in range(257)])
    inside = (mels >= mel(20.0) + step) & (mels <= mel(8_000.0) - step)
    assert np.allclose(found[inside].sum(axis=1), 1.0, atol=1e-12)


def test_a_tone_is_loudest_in_the_bin_around_it():
    for hertz in (200.0, 1_000.0, 3_300.0, 6_500.0):
        tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(8_000) / 16_000)
        energies = log_mel(tone.astype(np.float32), BANK).mean(axis=0)
        step = (mel(8_000.0) - mel(20.0)) / 81
        nearest = round((mel(hertz) - mel(20.0)) / step) - 1
        assert abs(int(energies.argmax()) - nearest) <= 1


def test_the_frame_kernel_is_linear_and_gives_the_spectrum_of_the_prepared_frame():
    kernel = frame_kernel(BANK)
    assert kernel.shape == (400, 514)
    rng = np.random.default_rng(2)
    first, second = rng.standard_normal((2, 400))
    both = (3.0 * first - 0.5 * second) @ kernel
    assert np.allclose(both, 3.0 * (first @ kernel) - 0.5 * (second @ kernel), rtol=0, atol=1e-6)

    prepared = first * 32_768.0 - (first * 32_768.0).mean()
    emphasised = np.append(0.03 * prepared[0], prepared[1:] - 0.97 * prepared[:-1])
    povey = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    spectrum = np.fft.rfft(emphasised * povey, 512)
    scale = np.abs(spectrum).max()
    assert np.abs(first @ kernel - np.append(spectrum.real, spectrum.imag)).max() <= 1e-10 * scale


def test_the_frame_kernel_hears_no_constant():
    constant = np.ones(400) @ frame_kernel(BANK)
    assert np.abs(constant).max() <= 1e-6 * BANK.scale


def test_each_slaney_filter_has_the_area_that_librosa_gives_it():
    areas = slaney_filters().sum(axis=0) * 16_000 / 400
    assert slaney_filters().shape == (201, 40)
    assert areas[10:] == pytest.approx(np.ones(30), abs=0.06)


@pytest.mark.parametrize(("seconds", "windows"), [(0.3, 1), (1.0, 1), (1.6, 1), (3.0, 3), (10.0, 12)])
def test_ge2e_hears_windows_of_160_frames(seconds, windows):
    heard = ge2e_windows(np.full(round(seconds * 16_000), 0.1, np.float32))
    assert heard.shape == (windows, 160, 40)


def test_a_quiet_clip_is_raised_and_a_loud_one_left():
    samples = example("ana_1")
    loud = samples / np.abs(samples).max()
    assert np.allclose(ge2e_windows(0.001 * loud), ge2e_windows(0.002 * loud), rtol=1e-3)
    assert np.allclose(ge2e_windows(loud), 4.0 * ge2e_windows(0.5 * loud), rtol=1e-3)
