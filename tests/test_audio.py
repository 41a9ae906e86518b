"""Decoding: the same sound is the same samples and the same hash, whatever it came in and however it is cut."""

from __future__ import annotations

import io
import os
import threading
import time
import wave
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
from handed_in import by_av
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from speakerdb import audio
from speakerdb.audio import LOUDEST, READ_SAMPLES, AudioStream, sources
from speakerdb.errors import AudioUnreadable

EXAMPLES = Path(__file__).parents[1] / "examples"
RATE_HZ = 16_000

Samples: TypeAlias = npt.NDArray[np.float32]


def clip(name: str = "ana_1") -> Samples:
    return soundfile.read(EXAMPLES / f"{name}.wav", dtype="float32")[0]


def long_clip() -> Samples:
    """About 20 s: several reads of a decoder, and no whole number of anything."""
    return np.concatenate([clip(f"{name}_{number}") for name in ("ana", "ben") for number in (1, 2, 3, 4)])


def encoded(samples: npt.NDArray, container: str, subtype: str | None = None, rate_hz: int = RATE_HZ) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def streamed(source: audio.Source, rate_hz: int, block_s: float, source_rate_hz: int | None = None) -> list[Samples]:
    with AudioStream(source, source_rate_hz) as stream:
        return list(stream.blocks(rate_hz, block_s))


LOSSLESS = [("WAV", "PCM_16"), ("WAVEX", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("AIFF", "PCM_16")]
LOSSLESS += [("RF64", "PCM_24"), ("CAF", "PCM_16"), ("AU", "PCM_16"), ("W64", "PCM_16"), ("WAV", "DOUBLE")]


@pytest.mark.parametrize(("container", "subtype"), LOSSLESS)
def test_the_same_sound_in_another_container_is_the_same_recording(container: str, subtype: str) -> None:
    expected = clip()
    recording = audio.read(encoded(expected, container, subtype), RATE_HZ)
    assert recording.samples.dtype == np.float32
    np.testing.assert_array_equal(recording.samples, expected)
    assert recording.sha256 == audio.read(EXAMPLES / "ana_1.wav", RATE_HZ).sha256
    assert (recording.rate_hz, recording.source_rate_hz) == (RATE_HZ, RATE_HZ)


def test_a_wav_file_of_16_bits_holds_its_integers_by_32768() -> None:
    with wave.open(str(EXAMPLES / "ben_2.wav")) as file:
        integers = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    expected = integers.astype(np.float32) / np.float32(32768)
    np.testing.assert_array_equal(audio.read(EXAMPLES / "ben_2.wav", RATE_HZ).samples, expected)


def test_path_bytes_file_and_array_give_the_same_recording() -> None:
    path = EXAMPLES / "eva_1.wav"
    content = path.read_bytes()
    with path.open("rb") as file:
        behind = io.BytesIO(b"something else first" + content)
        behind.seek(20)
        recordings = {
            str(path): audio.read(path, RATE_HZ),
            "<bytes>": audio.read(content, RATE_HZ),
            file.name: audio.read(file, RATE_HZ),
            "<BytesIO>": audio.read(behind, RATE_HZ),
            "<array>": audio.read(clip("eva_1"), RATE_HZ, RATE_HZ),
        }
        named = audio.read(str(path), RATE_HZ)
    for name, recording in recordings.items():
        assert recording.name == name
        assert recording.sha256 == named.sha256
        np.testing.assert_array_equal(recording.samples, named.samples)
    assert audio.read(bytearray(content), RATE_HZ).sha256 == audio.read(memoryview(content), RATE_HZ).sha256


def test_an_mp3_that_is_read_in_pieces_is_what_it_is_in_one(tmp_path: Path) -> None:
    """libmpg123 forgets at a seek what the next frames still need; soundfile seeks after every read."""
    rng = np.random.default_rng(0)
    samples = (0.1 * rng.standard_normal(5 * READ_SAMPLES)).astype(np.float32)
    soundfile.write(tmp_path / "noise.mp3", samples, 44_100)
    whole, _ = soundfile.read(tmp_path / "noise.mp3", dtype="float32")
    with AudioStream(str(tmp_path / "noise.mp3")) as stream:
        np.testing.assert_array_equal(np.concatenate(list(stream.blocks(44_100))), whole)


def test_a_file_that_cannot_be_sought_in_is_read_whole() -> None:
    reader, writer = os.pipe()
    content = encoded(clip()[:8000], "WAV")
    assert len(content) < 65_536  # what a pipe holds
    os.write(writer, content)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        np.testing.assert_array_equal(audio.read(pipe, RATE_HZ).samples, clip()[:8000])


def test_the_hash_is_of_the_sound_and_its_rate_alone() -> None:
    samples = clip()
    original = audio.read(samples, RATE_HZ, RATE_HZ).sha256
    changed = samples.copy()
    changed[1000] += np.float32(2**-20)
    assert audio.read(samples, 8_000, RATE_HZ).sha256 == original
    assert audio.read(np.stack([samples, samples], 1), RATE_HZ, RATE_HZ).sha256 == original
    others = [(changed, RATE_HZ), (samples[:-1], RATE_HZ), (samples, 22_050), (samples * np.float32(0.5), RATE_HZ)]
    hashes = {audio.read(other, RATE_HZ, rate_hz).sha256 for other, rate_hz in others}
    assert len(hashes | {original}) == 5


@pytest.mark.parametrize("block_s", [0.1, 0.512, 1.0, 3.7, 60.0])
@pytest.mark.parametrize(("source_rate_hz", "rate_hz"), [(16_000, 16_000), (44_100, 16_000), (8_000, 16_000)])
def test_blocks_are_the_whole_cut_to_length(source_rate_hz: int, rate_hz: int, block_s: float) -> None:
    samples = long_clip()
    whole = audio.read(samples, rate_hz, source_rate_hz)
    size = round(block_s * rate_hz)
    with AudioStream(samples, source_rate_hz) as stream:
        blocks = list(stream.blocks(rate_hz, block_s))
        assert stream.sha256 == whole.sha256
        assert stream.duration_s == stream.length_s == len(samples) / source_rate_hz
    assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1)
    assert 0 < len(blocks[-1]) <= size
    assert {block.dtype for block in blocks} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(np.concatenate(blocks), whole.samples)


@pytest.mark.parametrize("source_rate_hz", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 384_000])
def test_resampling_in_pieces_equals_resampling_at_once(source_rate_hz: int) -> None:
    samples = long_clip()
    whole = soxr.resample(samples, source_rate_hz, RATE_HZ, quality="HQ")
    heard = audio.read(samples, RATE_HZ, source_rate_hz).samples
    assert len(heard) == len(whole)
    np.testing.assert_allclose(heard, whole, atol=1e-6)


def test_a_tone_keeps_its_pitch_and_level_through_resampling() -> None:
    time_s = np.arange(2 * 48_000) / 48_000
    tone = (0.5 * np.sin(2 * np.pi * 1000 * time_s)).astype(np.float32)
    heard = audio.read(encoded(tone, "WAV", "FLOAT", 48_000), RATE_HZ).samples
    assert len(heard) == 2 * RATE_HZ
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * RATE_HZ) / RATE_HZ)
    middle = slice(1600, -1600)
    np.testing.assert_allclose(heard[middle], expected[middle], atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 3, 12])
def test_channels_are_averaged(channels: int) -> None:
    noise = np.random.default_rng(5).uniform(-1, 1, (READ_SAMPLES + 999, channels)).astype(np.float32)
    expected = noise.astype(np.float64).mean(axis=1)
    heard = audio.read(noise, RATE_HZ, RATE_HZ)
    np.testing.assert_allclose(heard.samples, expected, atol=1e-6)
    from_file = audio.read(encoded(noise, "WAV", "FLOAT"), RATE_HZ)
    np.testing.assert_array_equal(from_file.samples, heard.samples)
    assert from_file.sha256 == heard.sha256


def test_a_channel_and_its_opposite_are_silence() -> None:
    samples = clip()
    assert not audio.read(np.stack([samples, -samples], 1), RATE_HZ, RATE_HZ).samples.any()


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        (np.int16, [-32768, 0, 16384, 32767], [-1.0, 0.0, 0.5, 32767 / 32768]),
        (np.int32, [-(1 << 31), 0, 1 << 30], [-1.0, 0.0, 0.5]),
        (np.int64, [-(1 << 63), 0, 1 << 62], [-1.0, 0.0, 0.5]),
        (np.int8, [-128, 0, 64], [-1.0, 0.0, 0.5]),
        (np.uint8, [0, 128, 192], [-1.0, 0.0, 0.5]),
        (np.uint16, [0, 32768, 49152], [-1.0, 0.0, 0.5]),
        (np.float16, [-1.0, 0.25, 2.0], [-1.0, 0.25, 2.0]),
        (np.float64, [-1.0, 0.1, 32768.0], [-1.0, np.float32(0.1), 32768.0]),
        (">f4", [-1.0, 0.25, 2.0], [-1.0, 0.25, 2.0]),
        (">i2", [-32768, 0, 16384], [-1.0, 0.0, 0.5]),
    ],
)
def test_integers_are_parts_of_full_scale_and_floats_stay(dtype: str, values: list, expected: list) -> None:
    heard = audio.read(np.array(values, dtype), RATE_HZ, RATE_HZ).samples
    assert heard.dtype == np.dtype(np.float32)
    np.testing.assert_array_equal(heard, np.array(expected, np.float32))


def test_an_array_of_integers_is_the_recording_of_its_file() -> None:
    with wave.open(str(EXAMPLES / "kal_1.wav")) as file:
        integers = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    from_array, from_file = audio.read(integers, RATE_HZ, RATE_HZ), audio.read(EXAMPLES / "kal_1.wav", RATE_HZ)
    assert from_array.sha256 == from_file.sha256
    np.testing.assert_array_equal(from_array.samples, from_file.samples)


@settings(deadline=None)
@given(
    samples=arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=64),
        elements=st.floats(-2.0, 2.0, width=32),
    ),
    source_rate_hz=st.sampled_from([4_000, 16_000, 44_100, 384_000]),
)
def test_any_finite_array_is_heard_as_it_is_and_left_alone(samples: npt.NDArray, source_rate_hz: int) -> None:
    before = samples.copy()
    same_rate = audio.read(samples, source_rate_hz, source_rate_hz)
    expected = samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(same_rate.samples, expected, atol=1e-6)
    resampled = audio.read(samples, RATE_HZ, source_rate_hz)
    assert np.isfinite(resampled.samples).all()
    assert abs(len(resampled.samples) - len(samples) * RATE_HZ / source_rate_hz) <= 1
    assert resampled.sha256 == same_rate.sha256
    np.testing.assert_array_equal(samples, before)


@settings(deadline=None)
@given(
    samples=arrays.arrays(np.float32, st.integers(1, 64), elements=st.floats(-1.0, 1.0, width=32)),
    place=st.integers(0, 63),
    value=st.one_of(
        st.just(float("nan")),
        st.floats(min_value=LOUDEST * 1.01, allow_nan=False),
        st.floats(max_value=-LOUDEST * 1.01, allow_nan=False),
    ),
)
def test_one_sample_that_is_no_sound_refuses_the_recording_and_says_where(
    samples: Samples, place: int, value: float
) -> None:
    place %= len(samples)
    spoiled = samples.astype(np.float64)
    spoiled[place] = value
    with pytest.raises(AudioUnreadable, match=f"the sample at {place / RATE_HZ:.3f} s is "):
        audio.read(spoiled, RATE_HZ, RATE_HZ)


@settings(deadline=None)
@given(cuts=st.lists(st.integers(1, 300_000), min_size=1, max_size=3), block_s=st.floats(0.05, 10.0))
def test_no_way_of_blocking_loses_or_repeats_a_sample(cuts: list[int], block_s: float) -> None:
    ramp = np.arange(sum(cuts) % 300_000 + 1, dtype=np.float32)
    np.testing.assert_array_equal(np.concatenate(streamed(ramp, RATE_HZ, block_s, RATE_HZ)), ramp)


def test_a_stream_knows_its_length_before_and_its_duration_while_it_is_read() -> None:
    samples = long_clip()
    with AudioStream(encoded(samples, "FLAC")) as stream:
        assert (stream.length_s, stream.duration_s) == (len(samples) / RATE_HZ, 0.0)
        next(iter(stream.blocks(RATE_HZ, 1.0)))
        assert 1.0 <= stream.duration_s < len(samples) / RATE_HZ


def test_a_file_of_many_channels_is_read_in_small_pieces() -> None:
    noise = np.random.default_rng(6).uniform(-1, 1, (3 * 256, 256)).astype(np.float32)
    with AudioStream(encoded(noise, "WAV", "FLOAT")) as stream:
        next(iter(stream.blocks(RATE_HZ, 0.01)))
        assert stream.duration_s == READ_SAMPLES // 256 / RATE_HZ


def test_formats_of_pyav_give_the_sound_back_at_their_own_rate() -> None:
    samples = clip("slt_1")
    for container, codec, rate_hz in (("mp4", "aac", 44_100), ("webm", "libopus", 48_000), ("mp4", "alac", 16_000)):
        recording = audio.read(by_av(samples, container, codec, rate_hz), RATE_HZ)
        assert recording.source_rate_hz == rate_hz
        assert len(recording.samples) == pytest.approx(len(samples), abs=0.1 * RATE_HZ)
        size = 1 << 17  # the codecs delay and pad: compared where they agree best
        spectra = np.fft.rfft(samples, size), np.fft.rfft(recording.samples, size)
        agreement = np.fft.irfft(spectra[0].conj() * spectra[1], size).max()
        assert agreement > 0.9 * np.linalg.norm(samples) * np.linalg.norm(recording.samples)


def test_a_path_that_libsndfile_finds_too_long_is_read_all_the_same(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["x" * 200] * 5)
    deep.mkdir(parents=True)
    content = encoded(clip()[:8000], "WAV")
    (deep / f"{'y' * 150}.wav").write_bytes(content)
    read = audio.read(deep / f"{'y' * 150}.wav", RATE_HZ).samples
    np.testing.assert_array_equal(read, audio.read(content, RATE_HZ).samples)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_a_pipe_that_nobody_writes_to_is_waited_for_no_longer_than_some_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(sources, "PIPE_WAIT_S", 0.1)
    with pytest.raises(AudioUnreadable, match="is a pipe that nobody writes to"):
        audio.read(tmp_path / "pipe", RATE_HZ)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_who_comes_late_to_a_pipe_and_writes_slowly_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(sources, "PIPE_WAIT_S", 2.0)
    content = encoded(clip()[:8000], "WAV")

    def write() -> None:
        time.sleep(0.2)
        with (tmp_path / "pipe").open("wb") as pipe:
            time.sleep(2.2)
            pipe.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    read = audio.read(tmp_path / "pipe", RATE_HZ).samples
    writer.join()
    np.testing.assert_array_equal(read, audio.read(content, RATE_HZ).samples)
