"""Voices that nobody has: the envelope moves, the pitch stays; the same voice for all clips of one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from speakerdb.audio import read
from training.other_voices import BEND, FORMANTS, SPEED, OtherVoice, with_formants_moved
from training.virtual_speakers import clips_of, in_other_voices, recorded_set

RATE_HZ = 16_000
PITCH_HZ, FORMANT_HZ = 150.0, 1_500.0


def vowel(pitch_hz: float = PITCH_HZ, formant_hz: float = FORMANT_HZ, seconds: float = 1.0) -> np.ndarray:
    """Harmonics of a pitch under one broad formant."""
    at = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    harmonics = pitch_hz * np.arange(1, int(7_000 / pitch_hz))
    loudness = np.exp(-np.square((harmonics - formant_hz) / 400.0)) + 0.01
    return 0.1 * (loudness[:, None] * np.sin(2.0 * np.pi * harmonics[:, None] * at)).sum(axis=0)


def spectrum(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.fft.rfftfreq(len(samples), 1.0 / RATE_HZ), np.abs(np.fft.rfft(samples * np.hanning(len(samples))))


def centre_hz(samples: np.ndarray) -> float:
    """The middle of the spectrum's power."""
    hz, magnitude = spectrum(samples)
    return float((hz * magnitude**2).sum() / (magnitude**2).sum())


@pytest.mark.parametrize("factor", [0.86, 1.0, 1.17])
def test_formants_move_and_the_pitch_stays(factor: float) -> None:
    moved = with_formants_moved(vowel(), RATE_HZ, factor)[2_000:-2_000]
    assert centre_hz(moved) == pytest.approx(factor * FORMANT_HZ, rel=0.05)
    hz, magnitude = spectrum(moved)
    loud = hz[magnitude > 0.1 * magnitude.max()]
    assert np.abs(loud / PITCH_HZ - np.round(loud / PITCH_HZ)).max() * PITCH_HZ <= 4.0  # at harmonics, nowhere else


def test_a_bend_moves_high_frequencies_up_and_low_ones_down() -> None:
    low, high = vowel(formant_hz=1_000.0), vowel(formant_hz=6_000.0)
    for before, larger in ((low, False), (high, True)):
        moved = with_formants_moved(before, RATE_HZ, 1.0, bend=0.08)
        assert (centre_hz(moved) > centre_hz(before)) == larger


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3_000), st.integers(0, 2**32 - 1))
def test_nothing_moved_gives_the_samples_back(size: int, seed: int) -> None:
    samples = np.random.default_rng(seed).standard_normal(size)
    np.testing.assert_allclose(with_formants_moved(samples, RATE_HZ, 1.0), samples, atol=1e-9)


@pytest.mark.parametrize("samples", [np.zeros(4_000), np.full(4_000, 1e-9), np.sign(vowel())], ids=["0", "quiet", "±1"])
def test_silence_and_full_scale_stay_finite(samples: np.ndarray) -> None:
    moved = with_formants_moved(samples, RATE_HZ, 0.86, 0.08)
    assert moved.shape == samples.shape and np.isfinite(moved).all() and np.abs(moved).max() <= 100.0


def test_a_voice_is_a_function_of_speaker_and_number_and_within_its_bounds() -> None:
    drawn = {(speaker, number): OtherVoice.drawn(speaker, number) for speaker in ("a", "b") for number in range(20)}
    assert len(set(drawn.values())) == len(drawn)
    assert drawn["a", 3] == OtherVoice.drawn("a", 3)
    for voice in drawn.values():
        for value, (least, most) in zip(
            (voice.speed, voice.formants, voice.bend), (SPEED, FORMANTS, BEND), strict=True
        ):
            assert least <= value <= most


def test_another_speed_moves_the_pitch_and_changes_the_length() -> None:
    heard = OtherVoice(speed=1.25, formants=1.0, bend=0.0).of(vowel().astype(np.float32), RATE_HZ)
    assert heard.dtype == np.float32 and len(heard) == pytest.approx(RATE_HZ / 1.25, abs=2)
    assert centre_hz(heard) == pytest.approx(1.25 * FORMANT_HZ, rel=0.02)


def test_sets_in_other_voices_are_made_of_the_shards_and_are_other_peoples(tiny) -> None:
    names = in_other_voices(["common_voice-train"], 2)
    assert names == ["common_voice-train@voice0", "common_voice-train@voice1"]
    assert {recorded_set(name) for name in names} == {"common_voice-train"}
    recorded = list(clips_of(tiny.work / "shards", "common_voice-train", RATE_HZ))
    first, second = (list(clips_of(tiny.work / "shards", name, RATE_HZ)) for name in names)
    assert [clip.speaker for clip in first] == [f"{clip.speaker}@voice0" for clip in recorded]
    assert [clip.name for clip in second] == [f"{clip.name}@voice1" for clip in recorded]
    for one, again, other in zip(first, clips_of(tiny.work / "shards", names[0], RATE_HZ), second, strict=True):
        samples = read(one.audio, RATE_HZ).samples
        np.testing.assert_array_equal(samples, read(again.audio, RATE_HZ).samples)
        assert not np.array_equal(samples, read(other.audio, RATE_HZ).samples)
