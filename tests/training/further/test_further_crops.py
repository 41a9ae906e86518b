"""What a graph learns further from: clips on disk, targets in its own directions, crops of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")
pytest.importorskip("torch", reason="PyTorch is an extra (speakerdb[further])")
pytest.importorskip("pyroomacoustics", reason="pyroomacoustics is an extra (speakerdb[train])")

from speakerdb.embedding import normalize
from training.batches import CropLength
from training.cutting import Cutting
from training.further import crops as crops_module
from training.further.course import Further
from training.further.crops import Crops, samples_of
from training.further.lessons import Lesson, Lessons, make_lessons
from training.further.targets import Targets, in_directions_of
from training.rooms.sounds import Pieces, Sounds
from training.speaker_means import SpeakerMeans

RATE_HZ = 16_000
HOW = Further(steps=10, rate=1e-4, made_words_share=0.0)
LENGTHS = [
    CropLength(98, 0.5, 8, {"speech_commands": 0.5, "common_voice": 0.5}),
    CropLength(300, 0.5, 4, {"speech_commands": 0.25, "common_voice": 0.75}),
]
CUTTING = Cutting(joined=["speech_commands"], shift_share=0.0)


@pytest.fixture(scope="module")
def lessons(written) -> Lessons:
    return Lessons.opened(written.folder, written.names)


@pytest.fixture(scope="module")
def crops(lessons, targets, folder: Path, front_end) -> Crops:
    return Crops(lessons, targets, Sounds.opened(folder), front_end, LENGTHS, CUTTING, HOW)


def test_a_clip_is_told_by_a_number_through_all_sets(lessons) -> None:
    assert len(lessons) == 2 * 4 * 3 + 2 * 4 * 2
    assert lessons.recorded.tolist() == [True] * 12 + [False] * 12 + [True] * 8 + [False] * 8
    assert set(lessons.corpora[:24]) == {"speech_commands"} and set(lessons.corpora[24:]) == {"common_voice"}
    assert len(np.unique(lessons.speakers)) == 16  # another voice is another speaker
    np.testing.assert_allclose(lessons.part(24, 0, 3), 0.1, atol=1e-3)
    assert len(lessons.part(39, 71_990, 99_999)) == 10


def test_lessons_are_made_of_shards_once_and_anew_where_they_were_cut(tiny, tmp_path, quiet) -> None:
    names = ["common_voice-train", "common_voice-train@0.8", "common_voice-train@voice0"]
    made = make_lessons(tiny.work / "shards", names, tmp_path, quiet)
    recorded, slower, other = made.sets
    assert len(recorded.paths) == len(slower.paths) == len(other.paths)
    assert slower.clips.lengths[0] == pytest.approx(recorded.clips.lengths[0] / 0.8, abs=2)
    assert recorded.rows[0] == {"path": recorded.paths[0], "name": recorded.names[0]}
    stamp = (tmp_path / "common_voice-train@0.8.npy").stat().st_mtime_ns
    make_lessons(tiny.work / "shards", names, tmp_path, quiet)
    assert (tmp_path / "common_voice-train@0.8.npy").stat().st_mtime_ns == stamp
    file = tmp_path / "common_voice-train@voice0.npy"
    file.write_bytes(file.read_bytes()[:-2])
    again = make_lessons(tiny.work / "shards", names, tmp_path, quiet)
    assert (tmp_path / "common_voice-train@0.8.npy").stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(again.sets[2].clips[0], other.clips[0])


def test_the_second_teacher_counts_more_for_words_and_short_crops(targets, lessons) -> None:
    word, sentence = 0, 24
    for clip, seconds, weight in ((word, 1.0, 0.8), (word, 3.0, 0.8), (sentence, 1.0, 0.4), (sentence, 2.0, 0.275)):
        expected = targets.first[clip] + np.sqrt(weight) * targets.second[clip]
        found = targets.of(clip, round(seconds * RATE_HZ), HOW)
        np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)
    np.testing.assert_array_equal(targets.of(sentence, 3 * RATE_HZ, HOW), targets.of(sentence, 9 * RATE_HZ, HOW))


def test_targets_lie_in_the_directions_of_the_graph(tmp_path) -> None:
    """Two teachers whose vectors a rotation brings to the graph's: it is found, and the free direction stays free."""
    rng, count, dimension = np.random.default_rng(1), 600, 8
    voices = np.repeat(rng.standard_normal((200, dimension)), 3, axis=0)
    first, second = (normalize(voices @ np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]) for _ in range(2))
    lessons = _lessons(tmp_path, count)
    turned = normalize(voices @ np.linalg.qr(rng.standard_normal((dimension, dimension)))[0])
    free = turned[:, :1] * 0.0
    said = normalize(np.concatenate([turned[:, 1:], free], axis=1))
    how = Further(steps=1, rate=1e-4, second_weight=(0.4, 0.4))
    arguments = (lessons, how, 0.4, SpeakerMeans(), [])
    found = in_directions_of(lambda clip: said[clip].astype(np.float32), (first, second), *arguments)
    targets = np.stack([found.of(clip, RATE_HZ, how) for clip in range(count)])
    assert np.abs(targets[:, -1]).max() <= 1e-5
    assert (targets * said).sum(axis=1).mean() >= 0.97


def _lessons(folder: Path, count: int) -> Lessons:
    Pieces.written(folder, "a-train", [np.zeros(10, np.float16)] * count)
    names = np.array([f"{clip}" for clip in range(count)])
    corpora = np.full(count, "a")
    return Lessons([Lesson("a-train", Pieces.opened(folder, "a-train"), names, names, names, corpora)])


def test_a_batch_is_a_function_of_seed_step_and_process(crops, lessons, targets, folder, front_end) -> None:
    again = Crops(lessons, targets, Sounds.opened(folder), front_end, LENGTHS, CUTTING, HOW)
    again.batch(3, 0)  # what was drawn before changes nothing
    for one, other in zip(again.batch(1, 0), crops.batch(1, 0), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(crops.batch(1, 0)[0], crops.batch(1, 1)[0])
    assert all(crops.batch(step, 0)[0].shape == crops.batch(step, 1)[0].shape for step in range(6))


def test_a_batch_has_a_target_of_unit_length_for_each_crop(crops) -> None:
    shapes = set()
    for step in range(8):
        features, targets = crops.batch(step, 0)
        assert features.dtype == targets.dtype == np.float32 and len(features) == len(targets)
        assert np.isfinite(features).all()
        np.testing.assert_allclose(np.linalg.norm(targets, axis=1), 1.0, atol=1e-5)
        shapes.add(features.shape)
    assert shapes == {(8, 196, 80), (4, 300, 80)}


def test_a_crop_comes_from_anywhere_with_what_was_said_just_before(crops) -> None:
    starts = set()
    for seed in range(20):
        samples, before, _ = crops._cut(24, 16_000, np.random.default_rng(seed))
        assert len(samples) == before + 16_000 and before <= 9_600
        assert (np.diff(samples[::4_000]) > 0.0).all()  # one stretch of the rising line
        starts.add(round(float(samples[before]), 2))
    assert len(starts) > 5


def test_a_word_is_followed_by_others_of_its_voice(crops, targets) -> None:
    samples, before, target = crops._cut(0, 48_000, np.random.default_rng(0))
    assert (before, samples.shape) == (0, (48_000,))
    assert (np.flatnonzero(np.diff(samples) < -0.1) + 1).tolist() == [16_000, 32_000]
    three = [targets.of(clip, 48_000, HOW) for clip in range(3)]
    np.testing.assert_allclose(target, normalize(np.sum(three, axis=0)[None])[0], atol=1e-5)


def test_a_word_that_fills_its_crop_is_moved_within_it(lessons, targets, folder, front_end) -> None:
    moving = Cutting(joined=["speech_commands"], shift_share=1.0, shift_frames=24)
    crops = Crops(lessons, targets, Sounds.opened(folder), front_end, LENGTHS, moving, HOW)
    begins = {int(crops._cut(0, 15_920, np.random.default_rng(seed))[0].argmin()) for seed in range(10)}
    assert len(begins) > 5
    assert all(min(begin, 15_920 - begin) <= 3_840 for begin in begins)


def test_words_are_made_of_pieces_of_a_voice_s_own(lessons, targets, folder, front_end) -> None:
    how = replace(HOW, made_words_share=1.0)
    crops = Crops(lessons, targets, Sounds.opened(folder), front_end, LENGTHS, CUTTING, how)
    own = np.stack([targets.of(clip, 15_920, how) for clip in range(3)])
    seen = set()
    for seed in range(5):
        samples, before, target = crops._cut(0, 15_920, np.random.default_rng(seed))
        assert (before, samples.shape) == (0, (15_920,))
        assert np.linalg.norm(target) == pytest.approx(1.0, abs=1e-5)
        shares, *_ = np.linalg.lstsq(own.T, target, rcond=None)
        assert (shares >= -1e-4).all() and np.linalg.norm(shares @ own - target) <= 1e-4
        seen.add(samples.tobytes())
    assert len(seen) == 5
    whole, *_ = crops._cut(24, 15_920, np.random.default_rng(0))
    assert (np.diff(whole[::4_000]) > 0.0).all()  # sentences are left as they are


def test_a_crop_that_nothing_befalls_differs_in_level_alone(crops, monkeypatch) -> None:
    monkeypatch.setattr(crops_module, "SENTENCES_ALONE_SHARE", 1.0)
    heard, _ = crops.crop(24, 72_000, np.random.default_rng(0))
    factor = heard[-1] / 0.3
    assert 0.1 <= factor <= 2.0
    np.testing.assert_allclose(heard / factor, np.linspace(0.1, 0.3, 72_000), atol=1e-3)


@pytest.mark.parametrize("seconds", [0.4, 0.9])
def test_what_is_too_short_is_repeated_or_followed_by_silence(front_end, folder, tmp_path, seconds: float) -> None:
    lessons = _lessons(tmp_path, 3)
    Pieces.written(tmp_path, "short", [np.ones(round(seconds * RATE_HZ), np.float16)] * 3)
    lessons = Lessons([replace(lessons.sets[0], clips=Pieces.opened(tmp_path, "short"))])
    targets = Targets(np.eye(3, 192, dtype=np.float32), np.zeros((3, 192), np.float32), np.zeros(3, bool))
    few = Crops(lessons, targets, Sounds.opened(folder), front_end, [CropLength(98, 1.0, 8)], CUTTING, HOW)
    samples, *_ = few._cut(0, 16_000, np.random.default_rng(0))
    assert int(samples.sum()) == (16_000 if seconds < 0.85 else 14_400)


def test_batches_are_full_where_there_are_few_clips_or_no_virtual_ones(lessons, targets, folder, front_end) -> None:
    few = Lessons([one for one in lessons.sets if "@" not in one.name])
    rows = lessons.recorded
    some = Targets(targets.first[rows], targets.second[rows], targets.words[rows])
    lengths = [CropLength(98, 1.0, 30, {"speech_commands": 1.0})]  # twelve clips
    for given in (lengths, [CropLength(98, 1.0, 30)]):
        crops = Crops(few, some, Sounds.opened(folder), front_end, given, CUTTING, HOW)
        assert crops.batch(0, 0)[0].shape[0] == 30


def test_a_corpus_without_clips_is_refused(lessons, targets, folder, front_end) -> None:
    lengths = [CropLength(98, 1.0, 8, {"voxceleb": 1.0})]
    with pytest.raises(ValueError, match="no clips of voxceleb; there are common_voice, speech_commands"):
        Crops(lessons, targets, Sounds.opened(folder), front_end, lengths, CUTTING, HOW)


def test_the_rate_rises_stays_and_falls_to_nothing() -> None:
    how = Further(steps=1_000, rate=1e-3, warmup_steps=10, held=0.3)
    rates = [how.rate_at(step) for step in range(1_000)]
    assert rates[0] == pytest.approx(1e-4) and rates[9] == rates[299] == 1e-3
    assert rates[650] == pytest.approx(5e-4, rel=1e-2) and rates[-1] < 1e-8
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert Further(steps=10, rate=1e-3, held=1.0, warmup_steps=0).rate_at(9) == 1e-3


def test_a_crop_has_as_many_samples_as_its_frames(front_end) -> None:
    from training.sessions import on_one_core

    session = on_one_core(front_end)
    for frames in (300, 400):  # shorter ones are heard slowly
        samples = samples_of(CropLength(frames, 1.0, 1))
        assert session.run(None, {"waveform": np.full((1, samples), 0.1, np.float32)})[0].shape[1] == frames
