"""What the speech detector is taught with, and that its graph is its network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training wants the extra train")

from tiny_corpus import write_voices

from speakerdb.speech_detector import FRAME_SAMPLES, SAMPLE_RATE_HZ
from training.rooms.channels import within
from training.speech.learn import features_of
from training.speech.mixtures import FRAMES, Mixtures, _through_a_channel, coloured, hum, tones
from training.speech.network import build, write_onnx
from training.speech.teacher import SILERO, Noise, Silero, labelled, source_of


def clip(seconds: float = 3.0, hz: float = 300.0) -> tuple[np.ndarray, np.ndarray]:
    frames = round(seconds * SAMPLE_RATE_HZ / FRAME_SAMPLES)
    samples = 0.3 * np.sin(2 * np.pi * hz * np.arange(frames * FRAME_SAMPLES) / SAMPLE_RATE_HZ)
    return samples.astype(np.float32), np.ones(frames, np.float32)


def test_a_mixture_is_as_long_as_its_labels_and_loud_where_somebody_speaks() -> None:
    mixtures = Mixtures(
        [clip()], [np.random.default_rng(1).normal(size=20_000).astype(np.float32)], np.random.default_rng(0)
    )
    spoken = 0
    for _ in range(40):
        samples, speech = mixtures.draw()
        assert samples.shape == (FRAMES * FRAME_SAMPLES,) and speech.shape == (FRAMES,)
        assert np.all(np.isfinite(samples)) and np.abs(samples).max() <= 1.0
        spoken += bool(speech.any())
    assert 20 <= spoken <= 36  # nobody speaks in three of ten


def test_clips_lie_under_their_own_labels() -> None:
    mixtures = Mixtures([clip(1.0)], [np.ones(1000, np.float32)], np.random.default_rng(3))
    samples, speech, _ = mixtures._spoken()
    loud = np.square(samples.reshape(FRAMES, FRAME_SAMPLES)).mean(axis=1) > 1e-4
    assert loud[speech > 0.5].all()


def test_between_short_recordings_lies_nothing_and_nobody_speaks() -> None:
    mixtures = Mixtures([clip(1.0), clip(5.0)], [np.ones(1000, np.float32)], np.random.default_rng(0))
    apart = 0
    for _ in range(60):
        samples, speech = mixtures.draw()
        nothing = ~samples.reshape(FRAMES, FRAME_SAMPLES).any(axis=1)
        assert not speech[nothing].any()
        apart += bool(nothing.mean() > 0.3)
    assert 4 <= apart <= 24  # a fifth of them


def test_a_fifth_of_the_mixtures_goes_through_a_channel_which_keeps_their_length() -> None:
    white = np.random.default_rng(0).standard_normal(FRAMES * FRAME_SAMPLES)
    heard = [_through_a_channel(white, np.random.default_rng(seed)) for seed in range(200)]
    assert all(one.shape == white.shape and np.isfinite(one).all() for one in heard)
    assert 25 <= sum(one is not white for one in heard) <= 57


def test_some_mixtures_have_nothing_under_a_steep_edge() -> None:
    white = np.random.default_rng(0).standard_normal(FRAMES * FRAME_SAMPLES)
    lows = slice(0, round(100.0 * len(white) / SAMPLE_RATE_HZ))
    heard = [np.abs(np.fft.rfft(_through_a_channel(white, np.random.default_rng(seed))))[lows] for seed in range(200)]
    assert sum(spectrum.max() < 1e-6 for spectrum in heard) >= 8


def test_within_a_band_all_stays_and_outside_nothing() -> None:
    white = np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ)  # a line of the spectrum a Hz
    before, after = np.fft.rfft(white), np.fft.rfft(within(white, 300.0, 3400.0))
    assert np.abs(after[:301]).max() < 1e-9 and np.abs(after[3400:]).max() < 1e-9
    assert after[301:3400] == pytest.approx(before[301:3400])


@pytest.mark.parametrize("make", [coloured, hum, tones])
def test_made_backgrounds_are_finite_and_not_silent(make) -> None:
    for seed in range(20):
        made = make(SAMPLE_RATE_HZ, np.random.default_rng(seed))
        assert made.shape == (SAMPLE_RATE_HZ,) and np.all(np.isfinite(made)) and np.abs(made).max() > 1e-3


def test_the_graph_gives_what_the_network_gives(tmp_path: Path) -> None:
    import onnxruntime

    network = build()
    write_onnx(network, tmp_path / "graph.onnx")
    features = features_of(clip()[0])
    logits = np.asarray(network(features[None]))[0]
    assert len(logits) == len(clip()[1])
    session = onnxruntime.InferenceSession(str(tmp_path / "graph.onnx"), providers=["CPUExecutionProvider"])
    [found] = session.run(None, {"features": features.T[None]})
    assert found[0] == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)


def test_silero_hears_the_demos_voices_and_no_noise(examples: Path, shared: Path) -> None:
    from speakerdb.audio import read

    silero = Silero(SILERO)
    assert np.mean(silero.probabilities(read(str(examples / "ana_1.wav"), SAMPLE_RATE_HZ).samples) > 0.5) > 0.7
    noise = np.random.default_rng(0).normal(0, 0.05, SAMPLE_RATE_HZ).astype(np.float32)
    assert np.mean(silero.probabilities(noise) > 0.5) < 0.1


def test_labels_are_kept_and_read_again(tmp_path: Path, quiet) -> None:
    tiny_tar = write_voices(tmp_path / "tiny-train.tar", ["ana", "ben"])
    first = labelled(tiny_tar, Silero(SILERO), tmp_path, quiet)
    [file] = tmp_path.glob("*.npz")
    before = file.stat().st_mtime_ns
    again = labelled(tiny_tar, Silero(SILERO), tmp_path, quiet)
    assert file.stat().st_mtime_ns == before
    for (samples, speech), (kept, kept_speech) in zip(first, again, strict=True):
        assert len(samples) == len(speech) * FRAME_SAMPLES
        assert np.array_equal(samples, kept) and np.array_equal(speech, kept_speech)


def test_what_is_cut_from_one_recording_of_noise_is_held_out_together_or_not_at_all() -> None:
    paths = [f"noise/rain/{fold}-{source}-{take}.ogg" for fold in (1, 2) for source in (17, 23, 99) for take in "AB"]
    assert {source_of(path) for path in paths} == {"17", "23", "99"}
    assert source_of("kitchen/fan.wav") == "kitchen/fan.wav"
    noises = [Noise(str(number), np.zeros(1, np.float32)) for number in range(1000)]
    assert 150 < sum(noise.held_out for noise in noises) < 250
