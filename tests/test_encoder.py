"""From a recording to its vector: the shipped bundle, and a published encoder as a bundle of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from speakerdb import Encoder, audio, settings
from speakerdb.encoder.bundle import read_card
from speakerdb.encoder.parallel import AHEAD
from speakerdb.encoder.registry import find_bundle
from speakerdb.errors import AudioUnreadable, EncoderDamaged, TooLittleSpeech
from speakerdb.speech import SpeechMeter

PROJECT = Path(__file__).parents[1]
EXAMPLES = PROJECT / "examples"
PUBLISHED = PROJECT.parent / "shared" / "encoders" / "campplus_zh_en.onnx"
RATE_HZ = 16_000
WINDOW_SAMPLES = 312 * 512  # ten seconds in whole frames of the speech detector

Samples = npt.NDArray[np.float32]
Session = onnxruntime.InferenceSession


def path_of(name: str) -> Path:
    return EXAMPLES / f"{name}.wav"


def clip(name: str) -> Samples:
    return audio.read(str(path_of(name)), RATE_HZ).samples


def clips_of_many_lengths() -> list[Samples]:
    voices = [clip(f"{name}_{number}") for name in ("ana", "ben", "kal", "slt") for number in (1, 2)]
    cuts = [6_000, 9_999, 16_000, 16_161, 24_080, 30_321, 39_000, 40_000]
    return [*[voice[:samples] for voice, samples in zip(voices, cuts, strict=True)], np.concatenate(voices[:4])]


def recording(seconds: float, *names: str) -> Samples:
    """The examples of these voices one after the other, again and again."""
    once = np.concatenate([clip(f"{name}_{number}") for number in (1, 2, 3, 4) for name in names])
    return np.resize(once, round(seconds * RATE_HZ))


def room(seconds: float) -> Samples:
    noise = np.random.default_rng(3).standard_normal(round(seconds * RATE_HZ))
    return (1e-4 * noise).astype(np.float32)


def unit(vector: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    exact = np.asarray(vector, np.float64)
    return exact / np.sqrt((exact**2).sum(axis=-1, keepdims=True))


def difference(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    return float(np.abs(np.asarray(first, np.float64) - np.asarray(second, np.float64)).max())


def windows_by_hand(samples: Samples) -> Iterator[tuple[Samples, float]]:
    """Ten-second windows from the recording's start, each with its seconds of speech; the recording is one block."""
    [(heard, speech)] = SpeechMeter().listen([samples])
    for start in range(0, len(heard), WINDOW_SAMPLES):
        frames = speech[start // 512 : (start + WINDOW_SAMPLES) // 512]
        yield heard[start : start + WINDOW_SAMPLES], float(frames.sum()) * 0.032


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load()


@pytest.fixture(scope="module")
def graph() -> Session:
    """The shipped graph as any other program would run it."""
    return onnxruntime.InferenceSession(str(find_bundle() / "encoder.onnx"), providers=["CPUExecutionProvider"])


def test_a_vector_has_the_cards_dimension_and_unit_length(encoder):
    for name in ("ana_1", "ben_1", "rms_1"):
        vector = encoder.embed(path_of(name))
        assert vector.shape == (encoder.dimension,) == (encoder.card.raw["dimension"],)
        assert vector.dtype == np.float32
        assert abs(float(np.sqrt((vector.astype(np.float64) ** 2).sum())) - 1.0) <= 1e-6


def test_different_recordings_have_different_vectors(encoder):
    assert difference(encoder.embed(path_of("ana_1")), encoder.embed(path_of("ben_1"))) > 0.01


def test_a_batch_of_clips_of_different_lengths_changes_no_vector(encoder):
    clips = clips_of_many_lengths()
    together = encoder.runtime.vectors(clips)
    alone = np.concatenate([encoder.runtime.vectors([samples]) for samples in clips])
    assert together.shape == (len(clips), encoder.dimension)
    assert difference(together, alone) <= 1e-5


def test_more_clips_than_one_batch_holds_keep_their_order(encoder):
    clips = clips_of_many_lengths()
    many = (clips * 5)[:41]
    found = encoder.runtime.vectors(many)
    expected = encoder.runtime.vectors(clips)
    for row in range(len(many)):
        assert difference(found[row], expected[row % len(clips)]) <= 1e-5


@pytest.mark.parametrize("seconds, windows", [(0.5, 0), (1.99, 0), (2.0, 1), (2.99, 1), (3.0, 2), (4.5, 3)])
def test_a_clip_has_a_window_for_every_second_from_which_two_remain(encoder, seconds, windows):
    samples = np.resize(clip("ana_1"), round(seconds * 16_000))
    vector, found = encoder.runtime.vector_and_windows(samples)
    assert np.array_equal(vector, encoder.runtime.vectors([samples])[0])
    assert found.shape == (windows, encoder.dimension)
    assert np.abs(np.linalg.norm(found, axis=1) - 1.0).max(initial=0.0) <= 1e-6


def test_no_clips_have_no_vectors(encoder):
    assert encoder.runtime.vectors([]).shape == (0, encoder.dimension)


def test_a_clip_too_short_for_the_graph_is_an_error_that_names_the_bundle(encoder):
    with pytest.raises(EncoderDamaged, match=find_bundle().name):
        encoder.runtime.vectors([np.zeros(100, np.float32)])


@pytest.mark.parametrize("samples", [8_000, 16_000, 40_000])
def test_clips_of_one_length_have_together_the_vectors_that_they_have_alone(graph, samples):
    clips = [np.resize(clip(f"{name}_1"), samples) for name in ("ana", "ben", "kal")]
    together = graph.run(["embedding"], {"waveform": np.stack(clips)})[0]
    alone = np.concatenate([graph.run(["embedding"], {"waveform": one[None]})[0] for one in clips])
    assert difference(together, alone) <= 1e-5


def test_the_graph_makes_windows_for_those_who_want_them(graph):
    samples = np.resize(clip("ana_2"), 80_000)[None]
    for asked, windows in (({}, 0), ({"windows_wanted": np.array(False)}, 0), ({"windows_wanted": np.array(True)}, 5)):
        assert graph.run(["windows"], {"waveform": samples, **asked})[0].shape == (1, windows, 192)


def test_the_graph_itself_gives_unit_vectors(graph):
    for samples in clips_of_many_lengths():
        vector = graph.run(None, {"waveform": samples[None]})[0][0]
        assert difference(vector, unit(vector)) <= 1e-6


def test_a_path_bytes_a_file_and_an_array_give_the_same_vector(encoder):
    path = path_of("eva_2")
    expected = encoder.embed(path)
    with path.open("rb") as file:
        from_file = encoder.embed(file)
    for vector in (
        encoder.embed(str(path)),
        encoder.embed(path.read_bytes()),
        from_file,
        encoder.embed(clip("eva_2"), rate_hz=RATE_HZ),
    ):
        assert np.array_equal(vector, expected)


def test_a_short_recordings_vector_is_that_of_its_samples(encoder, graph):
    by_hand = graph.run(None, {"waveform": clip("rms_3")[None]})[0][0]
    assert difference(encoder.embed(path_of("rms_3")), by_hand) <= 1e-5


def test_many_recordings_come_in_their_order(encoder):
    names = [f"{name}_{number}" for number in (2, 1) for name in ("slt", "ana", "kal", "ben", "rms", "eva")]
    found = list(encoder.embed_many(path_of(name) for name in names))
    assert len(found) == len(names)
    for vector, name in zip(found, names, strict=True):
        assert difference(vector, encoder.embed(path_of(name))) <= 1e-5  # on one core and on all: other roundings


def test_many_recordings_are_asked_for_a_few_at_a_time(encoder):
    asked = 0

    def endless() -> Iterator[Path]:
        nonlocal asked
        while True:
            asked += 1
            yield path_of("ana_1")

    vectors = encoder.embed_many(endless())
    next(vectors)
    assert asked <= AHEAD * settings.threads() + 1
    vectors.close()


def test_one_recording_that_is_given_alone_to_many_is_one(encoder):
    [vector] = encoder.embed_many(str(path_of("ana_1")))
    assert difference(vector, encoder.embed(path_of("ana_1"))) <= 1e-5


def test_an_array_that_is_filled_again_for_the_next_recording_is_heard_as_it_was(encoder):
    sounds = [clip(name)[:32_000] for name in ("ana_1", "ben_1", "slt_1")]
    buffer = np.zeros(32_000, np.float32)

    def refilled() -> Iterator[np.ndarray]:
        for sound in sounds:
            buffer[:] = sound
            yield buffer

    found = list(encoder.embed_many(refilled(), rate_hz=16_000))
    for vector, sound in zip(found, sounds, strict=True):
        assert difference(vector, encoder.embed(sound, 16_000)) <= 1e-5


def test_bytes_that_are_filled_again_are_heard_as_they_were(encoder):
    files = [path_of(name).read_bytes() for name in ("ana_1", "ben_1")]
    buffer = bytearray(max(map(len, files)))

    def refilled() -> Iterator[memoryview]:
        for file in files:
            buffer[: len(file)] = file
            yield memoryview(buffer)[: len(file)]

    for vector, name in zip(encoder.embed_many(refilled()), ("ana_1", "ben_1"), strict=True):
        assert difference(vector, encoder.embed(path_of(name))) <= 1e-5


def test_of_many_recordings_the_unusable_one_raises_in_its_turn(encoder):
    vectors = encoder.embed_many([path_of("ana_1"), EXAMPLES / "nobody.wav", path_of("ana_2")])
    assert difference(next(vectors), encoder.embed(path_of("ana_1"))) <= 1e-6
    with pytest.raises(AudioUnreadable, match=r"nobody\.wav: no such file"):
        next(vectors)


@pytest.mark.parametrize("seconds", [20.5, 31.0, 75.0])
def test_a_long_recording_is_the_average_of_its_windows_weighted_by_speech(encoder, graph, seconds):
    samples = recording(seconds, "ana", "eva")
    total = np.zeros(encoder.dimension)
    for window, speech_s in windows_by_hand(samples):
        if speech_s >= 1.0:
            total += speech_s * unit(graph.run(None, {"waveform": window[None]})[0][0])
    assert difference(encoder.embed(samples, rate_hz=RATE_HZ), unit(total)) <= 1e-5


def test_a_long_recording_with_little_speech_everywhere_is_its_fullest_window(encoder, graph):
    samples = room(45.0)
    word = clip("ana_1")[4_000:14_000]
    samples[16_000 : 16_000 + 8_000] += word[:8_000]
    samples[480_000 : 480_000 + 10_000] += word
    windows = list(windows_by_hand(samples))
    assert 0.0 < max(speech_s for _, speech_s in windows) < 1.0
    fullest = max(windows, key=lambda window: window[1])[0]
    by_hand = graph.run(None, {"waveform": fullest[None]})[0][0]
    assert difference(encoder.embed(samples, rate_hz=RATE_HZ), by_hand) <= 1e-5


def test_a_recording_of_twenty_seconds_is_taken_whole(encoder, graph):
    samples = recording(20.0, "ben")
    by_hand = graph.run(None, {"waveform": samples[None]})[0][0]
    assert difference(encoder.embed(samples, rate_hz=RATE_HZ), by_hand) <= 1e-5


@pytest.mark.parametrize("seconds", [0.0, 0.01, 3.0, 25.0, 65.0])
def test_silence_has_no_vector(encoder, seconds):
    with pytest.raises(TooLittleSpeech) as caught:
        encoder.embed(np.zeros(round(seconds * RATE_HZ), np.float32), rate_hz=RATE_HZ)
    assert caught.value.fields["found_s"] == 0.0
    assert caught.value.fields["needed_s"] == encoder.card.probe_speech_s
    assert caught.value.fields["duration_s"] == seconds


def test_enrolling_needs_more_speech_than_comparing(encoder):
    word = np.concatenate([room(1.0), clip("ana_1")[4_000:14_000], room(1.0)])
    found_s = encoder.probe(word, RATE_HZ).quality.net_speech_s
    assert encoder.card.probe_speech_s <= found_s < encoder.card.enroll_speech_s
    with pytest.raises(TooLittleSpeech, match=r"1\.0 s needed to enroll"):
        encoder.enrollment(word, RATE_HZ)


def published(folder: Path, **changes: object) -> Path:
    """CAM++ as a bundle: what 3D-Speaker's own front end does, as a card says it."""
    folder.mkdir()
    (folder / "encoder.onnx").symlink_to(PUBLISHED)
    features = {"kind": "kaldi-fbank", "bins": 80, "rate_hz": RATE_HZ, "low_hz": 20.0, "window": "povey"}
    card = {
        "format": "speakerdb-encoder/1",
        "name": "campplus-zh-en",
        "version": "1",
        "sha256": hashlib.sha256(PUBLISHED.read_bytes()).hexdigest(),
        "dimension": 192,
        "rate_hz": RATE_HZ,
        "features": {**features, "scale": 32_768.0, "subtract_mean": True, **changes},
    }
    (folder / "card.json").write_text(json.dumps(card))
    return folder


needs_published = pytest.mark.skipif(
    not PUBLISHED.exists(), reason="the folder ../shared with published encoders is not beside the checkout"
)


@pytest.fixture
def campplus(tmp_path: Path) -> Encoder:
    pytest.importorskip("kaldi_native_fbank", reason="kaldi-native-fbank is not installed (the extra kaldi)")
    return Encoder.load(published(tmp_path / "campplus"))


@needs_published
def test_a_published_encoder_gives_what_its_own_tools_give(campplus):
    import kaldi_native_fbank

    session = onnxruntime.InferenceSession(str(PUBLISHED), providers=["CPUExecutionProvider"])
    names = ("ana_1", "ana_2", "ben_1")
    for name in names:
        options = kaldi_native_fbank.FbankOptions()
        options.frame_opts.dither = 0.0
        options.mel_opts.num_bins = 80
        fbank = kaldi_native_fbank.OnlineFbank(options)
        fbank.accept_waveform(16_000.0, [float(value) for value in clip(name) * np.float32(32_768)])
        fbank.input_finished()
        frames = np.array([fbank.get_frame(i) for i in range(fbank.num_frames_ready)], np.float32)
        [vector] = session.run(None, {"feats": (frames - frames.mean(axis=0))[None]})[0]
        assert difference(campplus.embed(path_of(name)), unit(vector)) <= 1e-5


@needs_published
def test_a_published_encoder_tells_two_voices_apart(campplus):
    ana_1, ana_2, ben_1, ben_2 = campplus.embed_many(path_of(name) for name in ("ana_1", "ana_2", "ben_1", "ben_2"))

    def distance(first: Samples, second: Samples) -> float:
        return float(np.sqrt(((first - second) ** 2).sum()))

    across = min(distance(ana, ben) for ana in (ana_1, ana_2) for ben in (ben_1, ben_2))
    assert max(distance(ana_1, ana_2), distance(ben_1, ben_2)) < across


@needs_published
def test_a_batch_for_a_published_encoder_is_run_clip_by_clip(campplus):
    clips = [clip("kal_1"), clip("slt_2"), clip("kal_2")[:20_000]]
    together = campplus.runtime.vectors(clips)
    for row, samples in enumerate(clips):
        assert difference(together[row], campplus.runtime.vectors([samples])[0]) <= 1e-6


@needs_published
@pytest.mark.parametrize("changes", [{"window": "no such window"}, {"low_hz": 9_000.0}, {"scale": 0.0}])
def test_a_front_end_that_cannot_be_is_refused_with_the_card(tmp_path, changes):
    with pytest.raises(EncoderDamaged, match=r"misfit: card\.json: ValueError"):
        read_card(published(tmp_path / "misfit", **changes))


@needs_published
def test_a_front_end_that_does_not_fit_the_graph_is_an_error_that_names_the_bundle(tmp_path):
    pytest.importorskip("kaldi_native_fbank", reason="kaldi-native-fbank is not installed (the extra kaldi)")
    encoder = Encoder.load(published(tmp_path / "misfit", bins=40))
    with pytest.raises(EncoderDamaged, match="misfit"):
        encoder.embed(path_of("ana_1"))


@needs_published
@pytest.mark.parametrize("rate_hz", [8_000, 48_000])
def test_an_encoder_of_another_rate_is_refused_rather_than_fed_the_wrong_samples(tmp_path, rate_hz):
    folder = published(tmp_path / "narrow")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "rate_hz": rate_hz}))
    with pytest.raises(EncoderDamaged, match=f"{rate_hz} Hz"):
        read_card(folder)
    (folder / "card.json").write_text(json.dumps({**card, "features": {**card["features"], "rate_hz": rate_hz}}))
    with pytest.raises(EncoderDamaged, match=str(rate_hz)):
        read_card(folder)
