"""Speech and quality: on synthetic voices and noises everywhere, on real clips where they are at hand."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from speakerdb import audio, speech, speech_detector
from speakerdb.errors import StorageError
from speakerdb.speech import Quality, Segment, SpeechMeter
from speakerdb.speech_detector import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples, SpeechDetector
from training.speech.teacher import noises

PROJECT = Path(__file__).parents[1]
SHARED = PROJECT.parent / "shared"
VOICES = sorted((PROJECT / "examples").glob("*_1.wav"))

needs_corpora = pytest.mark.skipif(
    not (SHARED / "corpora").is_dir(),
    reason="the folder ../shared with recorded clips is not beside the checkout",
)


def voice(path: Path) -> Samples:
    return audio.read(str(path), SAMPLE_RATE_HZ).samples


def with_pauses(samples: Samples, pause_s: float = 1.0) -> Samples:
    pause = np.zeros(round(pause_s * SAMPLE_RATE_HZ), np.float32)
    return np.concatenate([pause, samples, pause])


def listened(samples: Samples, block_samples: int = 0) -> tuple[SpeechMeter, np.ndarray]:
    meter = SpeechMeter()
    blocks = [samples]
    if block_samples:
        blocks = [samples[at : at + block_samples] for at in range(0, len(samples), block_samples)]
    given_out = list(meter.listen(blocks))
    assert [len(block) for block, _ in given_out] == [len(block) for block in blocks]
    return meter, np.concatenate([mask for _, mask in given_out] or [np.zeros(0, bool)])


def probabilities(samples: Samples) -> np.ndarray:
    detector = SpeechDetector()
    return np.concatenate([detector.detect(samples), detector.finish()])


def quality(samples: Samples) -> Quality:
    return listened(samples)[0].quality()


def between(samples: Samples, from_hz: float, to_hz: float) -> Samples:
    """What lies between two frequencies, cut steeply."""
    hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ)
    passed = (hz >= from_hz) & (hz <= to_hz)
    return np.fft.irfft(np.fft.rfft(samples) * passed, len(samples)).astype(np.float32)


def by_telephone(samples: Samples) -> Samples:
    """300 to 3,400 Hz as µ-law at 8 kHz."""
    file = io.BytesIO()
    soundfile.write(file, between(samples, 300, 3400)[::2], SAMPLE_RATE_HZ // 2, format="WAV", subtype="ULAW")
    return audio.read(io.BytesIO(file.getvalue()), SAMPLE_RATE_HZ).samples


def clips(archive: str, every: int) -> Iterator[Samples]:
    with tarfile.open(SHARED / "corpora" / archive) as tar:
        for member in [member for member in tar.getmembers() if member.isfile()][::every]:
            file = tar.extractfile(member)
            assert file is not None
            yield audio.read(io.BytesIO(file.read()), SAMPLE_RATE_HZ).samples


@pytest.fixture(scope="module")
def long_voice() -> Samples:
    if not VOICES:
        pytest.skip("examples/ holds no voices")
    pauses = np.random.default_rng(5).normal(0, 0.001, (len(VOICES), 12_345)).astype(np.float32)
    parts = [part for path, pause in zip(VOICES, pauses, strict=True) for part in (voice(path), pause)]
    return np.concatenate(parts)[:-100]


@pytest.fixture(params=VOICES, ids=lambda path: path.stem)
def one_voice(request: pytest.FixtureRequest) -> Samples:
    return voice(request.param)


class TestBlocks:
    @pytest.mark.parametrize("frames", [1, 7, 31, 256, 400])
    def test_blocks_of_any_length_give_exactly_what_one_call_gives(self, long_voice: Samples, frames: int) -> None:
        whole, whole_mask = listened(long_voice)
        meter, mask = listened(long_voice, frames * FRAME_SAMPLES)
        assert np.array_equal(mask, whole_mask)
        assert meter.segments() == whole.segments()
        got, expected = meter.quality(), whole.quality()
        assert (got.net_speech_s, got.snr_db) == (expected.net_speech_s, expected.snr_db)
        assert got.bandwidth_hz == expected.bandwidth_hz

    def test_blocks_of_any_length_give_the_same_probabilities_bit_by_bit(self, long_voice: Samples) -> None:
        whole = probabilities(long_voice)
        assert len(whole) == -(-len(long_voice) // FRAME_SAMPLES)
        for size in (512, 7777, 200_000):
            detector = SpeechDetector()
            steps = [detector.detect(long_voice[at : at + size]) for at in range(0, len(long_voice), size)]
            assert np.array_equal(np.concatenate([*steps, detector.finish()]), whole)

    def test_a_frame_depends_on_a_second_around_it_alone(self, long_voice: Samples) -> None:
        whole = probabilities(long_voice)
        at = 150 + int(np.argmax(whole[150:250]))
        reach = speech_detector.REACH_FRAMES + 3
        changed = np.zeros_like(long_voice)
        kept = slice((at - reach) * FRAME_SAMPLES, (at + reach + 1) * FRAME_SAMPLES)
        changed[kept] = long_voice[kept]
        assert probabilities(changed)[at] == pytest.approx(whole[at], abs=1e-5)
        assert probabilities(np.zeros_like(long_voice))[at] != pytest.approx(whole[at], abs=1e-2)

    def test_blocks_are_given_out_while_a_long_recording_goes_on(self, long_voice: Samples) -> None:
        heard: list[int] = []

        def blocks() -> Iterator[Samples]:
            for number in range(30):
                heard.append(number)
                yield np.resize(long_voice, 16_384)

        waited = [len(heard) - given for given, _ in enumerate(SpeechMeter().listen(blocks()))]
        assert len(waited) == 30 and max(waited) <= 11  # a run of 8 s, a second beyond it, and the hysteresis

    def test_channels_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"\(512, 2\)"):
            SpeechDetector().detect(np.zeros((512, 2), np.float32))


class TestHysteresis:
    @pytest.mark.parametrize(
        ("tenths", "expected"),
        [  # probabilities in tenths a frame; worked out by hand
            ("0000000000", ".........."),
            ("0099990000", ".######..."),  # four frames are speech; one more on both sides
            ("0099900000", ".........."),  # three are not
            ("0944440000", "#######..."),  # 0.4 keeps what 0.9 began …
            ("0044444000", ".........."),  # … and begins nothing
            ("9999000999999", "#############"),  # a gap of three frames is filled
            ("99990000999999", "#####..#######"),  # a gap of four is silence, less the padding
            ("999900040999", "#####......."),  # 0.4 does not end a gap; what follows is too short
            ("0090009000", ".#######.."),  # two blips near each other are one segment of five frames
            ("", ""),
        ],
    )
    def test_on_off_gap_blip_and_padding(self, tenths: str, expected: str) -> None:
        mask = speech.speech_frames(np.array([int(digit) / 10 for digit in tenths], np.float32))
        assert "".join(".#"[int(frame)] for frame in mask) == expected

    @given(st.lists(st.sampled_from([0.1, 0.4, 0.9]), max_size=60), st.integers(0, 60))
    def test_nothing_beyond_the_lookahead_changes_what_is_final(self, values: list[float], cut: int) -> None:
        probabilities = np.array(values, np.float32)
        early = speech.speech_frames(probabilities[:cut])
        final = max(0, len(early) - speech.LOOKAHEAD_FRAMES)
        assert np.array_equal(early[:final], speech.speech_frames(probabilities)[:final])


class TestSpeech:
    def test_a_voice_keeps_its_speech(self, one_voice: Samples) -> None:
        meter, mask = listened(with_pauses(one_voice))
        assert meter.quality().net_speech_s == pytest.approx(len(one_voice) / SAMPLE_RATE_HZ, abs=0.4)
        assert not mask[:24].any()  # of 31 frames of silence in front

    @pytest.mark.skipif(not VOICES, reason="examples/ holds no voices")
    def test_voices_at_an_rms_of_a_hundredth_keep_nine_tenths(self) -> None:
        kept = []
        for samples in map(voice, VOICES):
            quiet = samples * np.float32(0.01 / np.sqrt(np.mean(samples**2)))
            kept.append(quality(quiet).net_speech_s / quality(samples).net_speech_s)
        assert np.mean(kept) >= 0.9
        assert min(kept) >= 0.75

    @pytest.mark.parametrize("lowest_hz", [200, 300, 400])
    def test_a_voice_without_its_lows_keeps_its_speech(self, one_voice: Samples, lowest_hz: int) -> None:
        cut = between(one_voice, lowest_hz, SAMPLE_RATE_HZ / 2)
        assert quality(cut).net_speech_s >= 0.85 * quality(one_voice).net_speech_s

    def test_a_voice_by_telephone_keeps_its_speech(self, one_voice: Samples) -> None:
        assert quality(by_telephone(one_voice)).net_speech_s >= 0.85 * quality(one_voice).net_speech_s

    def test_the_segments_are_the_mask_in_seconds(self, long_voice: Samples) -> None:
        meter, mask = listened(long_voice)
        segments = meter.segments()
        starts = [segment.start_s for segment in segments]
        assert starts == sorted(starts)
        assert len(segments) >= 3
        for segment in segments:
            first, last = round(segment.start_s / 0.032), int(np.ceil(segment.end_s / 0.032 - 1e-6))
            assert mask[first:last].all()
        total_s = sum(segment.end_s - segment.start_s for segment in segments)
        assert meter.quality().net_speech_s == pytest.approx(total_s)
        assert total_s == pytest.approx(mask.sum() * 0.032, abs=0.032)

    @pytest.mark.parametrize("level", [0.001, 0.01, 0.1, 0.5])
    def test_white_noise_is_not_speech(self, level: float) -> None:
        noise = np.random.default_rng(1).normal(0, level, 10 * SAMPLE_RATE_HZ).astype(np.float32)
        assert quality(noise).net_speech_s == 0.0

    @pytest.mark.parametrize("partials_hz", [(), (50, 150, 440), (100,), (200,), (1000,), (3000,), (770, 1336)])
    def test_silence_hum_and_tones_are_not_speech(self, partials_hz: tuple[int, ...]) -> None:
        time_s = np.arange(10 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
        sound = sum((0.2 * np.sin(2 * np.pi * hz * time_s) for hz in partials_hz), np.zeros_like(time_s))
        assert quality(sound.astype(np.float32)).net_speech_s == 0.0

    @needs_corpora
    @pytest.mark.parametrize(
        ("learnt", "of_time", "of_words", "of_sentences"), [(True, 0.01, 0.07, 0.01), (False, 0.05, 0.25, 0.12)]
    )
    def test_recorded_noises_hold_little_false_speech(
        self, learnt: bool, of_time: float, of_words: float, of_sentences: float
    ) -> None:
        kinds = noises(SHARED / "corpora" / "noise.tar")
        found = [quality(noise.samples) for kind in kinds.values() for noise in kind if noise.held_out != learnt]
        assert sum(each.net_speech_s for each in found) < of_time * sum(each.duration_s for each in found)
        assert np.mean([each.net_speech_s >= 0.3 for each in found]) < of_words
        assert np.mean([each.net_speech_s >= 1.0 for each in found]) < of_sentences

    @needs_corpora
    def test_recorded_sentences_keep_their_speech(self) -> None:
        found = [quality(clip) for clip in clips("common_voice-dev.tar", every=20)]
        assert 0.55 < np.median([each.net_speech_s / each.duration_s for each in found]) < 0.8
        assert min(each.net_speech_s for each in found) > 0.3

    @needs_corpora
    def test_recorded_sentences_by_telephone_keep_nine_tenths_of_their_speech(self) -> None:
        sentences = list(clips("common_voice-dev.tar", every=20))
        whole_s = sum(quality(clip).net_speech_s for clip in sentences)
        assert sum(quality(by_telephone(clip)).net_speech_s for clip in sentences) > 0.9 * whole_s

    @needs_corpora
    def test_recorded_words_of_one_second_mostly_reach_three_tenths(self) -> None:
        found = [quality(clip).net_speech_s for clip in clips("speech_commands-dev.tar", every=10)]
        assert np.mean(np.array(found) >= 0.3) > 0.75


class TestQuality:
    def test_snr_falls_as_noise_rises_and_tells_how_much_was_added(self, one_voice: Samples) -> None:
        padded = with_pauses(one_voice)
        power = float(np.mean(one_voice**2))
        noise = np.random.default_rng(2).normal(0, 1, len(padded)).astype(np.float32)
        added_db = [40, 30, 20, 10, 5]
        found = [quality(padded + noise * np.float32(np.sqrt(power / 10 ** (db / 10)))).snr_db for db in added_db]
        assert found == sorted(found, reverse=True)
        np.testing.assert_allclose(found, added_db, atol=1.5)

    def test_an_offset_is_no_noise(self, one_voice: Samples) -> None:
        padded = with_pauses(one_voice) + np.random.default_rng(3).normal(0, 1e-3, len(one_voice) + 32_000)
        plain, shifted = quality(padded.astype(np.float32)), quality((padded + 0.1).astype(np.float32))
        assert shifted.snr_db == pytest.approx(plain.snr_db, abs=1.0)

    def test_silence_has_neither_snr_nor_peak_nor_bandwidth(self) -> None:
        assert quality(np.zeros(32_000, np.float32)) == Quality(2.0, 0.0, None, 0.0, None, None)

    def test_a_recording_of_nothing_lasts_no_time(self) -> None:
        expected = Quality(0.0, 0.0, None, 0.0, None, None)
        assert quality(np.zeros(0, np.float32)) == expected
        meter = SpeechMeter()
        assert list(meter.listen([])) == []
        assert (meter.quality(), meter.segments()) == (expected, [])

    def test_clipping_is_the_share_of_samples_at_full_scale(self) -> None:
        samples = np.zeros(1000, np.float32)
        samples[:20], samples[20:30], samples[30:40] = 1.0, -0.9995, 0.99
        assert quality(samples).clipping == pytest.approx(0.03)

    def test_peak_is_in_decibels_of_full_scale(self) -> None:
        samples = np.zeros(1000, np.float32)
        samples[5] = -0.5
        assert quality(samples).peak_dbfs == pytest.approx(-6.0206, abs=1e-3)

    @pytest.mark.parametrize("cut_hz", [3000, 4000, 6000])
    def test_bandwidth_is_where_a_low_pass_cuts(self, long_voice: Samples, cut_hz: int) -> None:
        spectrum = np.fft.rfft(long_voice)
        spectrum[round(cut_hz * len(long_voice) / SAMPLE_RATE_HZ) :] = 0
        narrow = np.fft.irfft(spectrum, len(long_voice)).astype(np.float32)
        found_hz = quality(narrow).bandwidth_hz
        assert found_hz == pytest.approx(cut_hz, abs=300)

    def test_json_rounds_and_keeps_what_is_missing(self) -> None:
        found = Quality(1.23456, 0.98765, 12.345, 0.00123456, -6.0206, 3843.75).to_json()
        assert found == {
            "duration_s": 1.235,
            "net_speech_s": 0.988,
            "snr_db": 12.3,
            "clipping": 0.001235,
            "peak_dbfs": -6.0,
            "bandwidth_hz": 3844,
        }
        assert Quality(1.0, 0.0, None, 0.0, None, None).to_json()["snr_db"] is None

    def test_segments_are_values(self) -> None:
        assert Segment(0.5, 1.0) == Segment(0.5, 1.0)


class TestModelFile:
    def test_a_damaged_model_is_one_line_that_names_it(self, tmp_path: Path) -> None:
        damaged = tmp_path / "speakerdb_vad_16k.onnx"
        shutil.copy(speech_detector.MODEL, damaged)
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
        with pytest.raises(StorageError, match="not the speech detector") as caught:
            SpeechMeter(damaged)
        assert caught.value.exit_code == 5
        assert "\n" not in str(caught.value)
        assert "speakerdb_vad_16k.onnx" in str(caught.value)

    def test_a_missing_model_is_one_line_that_names_it(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="cannot be read") as caught:
            SpeechDetector(tmp_path / "gone.onnx")
        assert "\n" not in str(caught.value)

    def test_its_origin_and_hash_lie_beside_it(self) -> None:
        folder = speech_detector.MODEL.parent
        assert speech_detector.MODEL_SHA256 in (folder / "README.md").read_text(encoding="utf-8")
        assert speech_detector.MODEL.stat().st_size <= 500_000
