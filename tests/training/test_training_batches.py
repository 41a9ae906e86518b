"""Batches: the same for the same seed and step, every crop from one clip with that clip's target and speaker."""

from __future__ import annotations

import numpy as np
import pytest

from training.augment import Augmentation
from training.batches import CropLength, CropSampler
from training.features_cache import CachedFeatures

NOTHING = Augmentation(
    noise_share=0.0, babble_share=0.0, floor_share=0.0, room_share=0.0, telephone_share=0.0, mask_share=0.0
)
LENGTHS_OF_CLIPS = (5, 12, 30, 31, 60, 8, 45, 30)
SPEAKERS = ("zoe", "amy", "zoe", "kim", "amy", "kim", "zoe", "lea")
CORPORA = ("words", "words", "sentences", "sentences", "sentences", "words", "sentences", "sentences")


def speech() -> CachedFeatures:
    """Every frame says where it is from: bin 0 holds the clip's number, bin 1 the frame's."""
    frames = np.zeros((sum(LENGTHS_OF_CLIPS), 80), np.float16)
    starts = np.cumsum([0, *LENGTHS_OF_CLIPS])
    for clip, length in enumerate(LENGTHS_OF_CLIPS):
        frames[starts[clip] : starts[clip + 1], 0] = clip
        frames[starts[clip] : starts[clip + 1], 1] = np.arange(length)
    rows = [{"speaker": s, "corpus": c, "path": str(i)} for i, (s, c) in enumerate(zip(SPEAKERS, CORPORA, strict=True))]
    return CachedFeatures(frames, starts, rows)


def noise() -> CachedFeatures:
    rng = np.random.default_rng(1)
    return CachedFeatures(rng.standard_normal((90, 80)).astype(np.float16), np.array([0, 40, 50, 90]), [{}] * 3)


TARGETS = np.random.default_rng(2).standard_normal((8, 4)).astype(np.float32)


def sampler(*lengths: CropLength, seed: int = 1, augmentation: Augmentation = NOTHING) -> CropSampler:
    return CropSampler(speech(), TARGETS, noise(), list(lengths), augmentation, seed)


BOTH = CropLength(frames=10, share=1.0, crops=20, corpora={"words": 1.0, "sentences": 1.0})


def test_every_crop_is_a_stretch_of_one_clip_with_its_target_and_speaker():
    seen = set()
    for step in range(20):
        batch = sampler(BOTH).batch(step)
        for crop, target, speaker in zip(batch.features, batch.targets, batch.speakers, strict=True):
            clip = int(crop[0, 0])
            seen.add(clip)
            assert np.all(crop[:, 0] == clip)
            assert np.array_equal(target, TARGETS[clip])
            assert sorted(set(SPEAKERS))[speaker] == SPEAKERS[clip]
            if LENGTHS_OF_CLIPS[clip] > 10:
                assert np.all(np.diff(crop[:, 1]) == 1)
    assert seen == set(range(8))


def test_a_clip_shorter_than_the_crop_is_repeated():
    words = CropLength(frames=17, share=1.0, crops=30, corpora={"words": 1.0})
    for crop in sampler(words).batch(0).features:
        length = LENGTHS_OF_CLIPS[int(crop[0, 0])]
        assert crop[:, 1].tolist() == [frame % length for frame in range(17)]


def test_every_place_in_a_clip_is_drawn_the_last_one_too():
    long = CropLength(frames=58, share=1.0, crops=60, corpora={"sentences": 1.0})
    starts = set()
    for step in range(5):
        crops = sampler(long).batch(step).features
        starts |= {int(crop[0, 1]) for crop in crops if crop[0, 0] == 4}
    assert starts == {0, 1, 2}  # of 60 frames


def test_shapes_and_types_are_those_of_the_length():
    batch = sampler(BOTH).batch(3)
    assert batch.features.shape == (20, 10, 80)
    assert batch.targets.shape == (20, 4)
    assert batch.speakers.shape == (20,)
    assert (batch.features.dtype, batch.targets.dtype, batch.speakers.dtype) == (np.float32, np.float32, np.int32)
    assert sampler(BOTH).speakers == 4


def test_lengths_and_corpora_come_in_their_shares():
    short = CropLength(frames=6, share=3.0, crops=10, corpora={"words": 3.0, "sentences": 1.0})
    long = CropLength(frames=20, share=1.0, crops=4, corpora={"sentences": 1.0})
    batches = [sampler(short, long).batch(step) for step in range(200)]
    of_short = [batch for batch in batches if batch.features.shape == (10, 6, 80)]
    of_long = [batch for batch in batches if batch.features.shape == (4, 20, 80)]
    assert len(of_short) + len(of_long) == 200
    assert 0.65 <= len(of_short) / 200 <= 0.85
    clips = np.concatenate([batch.features[:, 0, 0] for batch in of_short]).astype(int)
    assert 0.70 <= np.mean([CORPORA[clip] == "words" for clip in clips]) <= 0.80
    assert all(CORPORA[int(clip)] == "sentences" for batch in of_long for clip in batch.features[:, 0, 0])


@pytest.mark.parametrize("augmentation", [NOTHING, Augmentation()], ids=["untouched", "augmented"])
def test_the_same_seed_and_step_give_the_same_batch_in_any_order(augmentation):
    first = sampler(BOTH, augmentation=augmentation)
    second = sampler(BOTH, augmentation=augmentation)
    forwards = [first.batch(step) for step in range(5)]
    backwards = [second.batch(step) for step in reversed(range(5))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert np.array_equal(one.features, other.features)
        assert np.array_equal(one.targets, other.targets)
        assert np.array_equal(one.speakers, other.speakers)


def test_another_step_or_seed_gives_another_batch():
    batch = sampler(BOTH).batch(0).features
    assert not np.array_equal(sampler(BOTH).batch(1).features, batch)
    assert not np.array_equal(sampler(BOTH, seed=2).batch(0).features, batch)


def test_drawing_changes_no_cached_frame():
    cached = speech()
    kept = cached.frames.copy()
    drawn = CropSampler(cached, TARGETS, noise(), [BOTH], Augmentation(), 1)
    for step in range(5):
        drawn.batch(step)
    assert np.array_equal(cached.frames, kept)


def test_a_batch_of_speakers_holds_so_many_clips_of_each():
    grouped = CropLength(frames=10, share=1.0, crops=6, clips_per_speaker=2)
    for step in range(30):
        batch = sampler(grouped).batch(step)
        speakers, counts = np.unique(batch.speakers, return_counts=True)
        assert set(counts) == {2}
        assert len(speakers) == 3
        clips = [int(clip) for clip in batch.features[:, 0, 0]]
        assert len(set(clips)) == 6  # two clips of each, not one twice
        assert {SPEAKERS[clip] for clip in clips} == {"zoe", "amy", "kim"}  # lea has one clip


def test_a_speaker_with_too_few_clips_gives_each_before_any_comes_again():
    grouped = CropLength(frames=4, share=1.0, crops=5, corpora={"sentences": 1.0}, clips_per_speaker=5)
    seen = {tuple(sorted(sampler(grouped).batch(step).features[:, 0, 0].astype(int))) for step in range(40)}
    assert {frozenset(clips) for clips in seen} == {frozenset({2, 6})}  # only zoe says two sentences
    assert all({clips.count(2), clips.count(6)} == {2, 3} for clips in seen)


def test_from_the_start_means_the_first_frames():
    first = CropLength(frames=10, share=1.0, crops=8, corpora={"sentences": 1.0}, from_start=True)
    assert np.all(sampler(first).batch(0).features[:, :, 1] == np.arange(10))


def test_without_corpora_every_clip_is_drawn_alike():
    anything = CropLength(frames=4, share=1.0, crops=8)
    clips = np.concatenate([sampler(anything).batch(step).features[:, 0, 0] for step in range(200)]).astype(int)
    counts = np.bincount(clips, minlength=8)
    assert counts.min() > 150
    assert counts.max() < 250


def test_without_noise_and_teachers_the_crops_come_as_they_are():
    plain = CropSampler(speech(), None, None, [BOTH], Augmentation(), 1).batch(0)
    assert plain.targets.shape == (20, 1)
    assert np.array_equal(plain.features[:, :, 0], np.round(plain.features[:, :, 0]))


def test_a_batch_that_wants_a_corpus_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="music"):
        sampler(CropLength(frames=4, share=1.0, crops=8, corpora={"music": 1.0}))


def test_crops_that_are_not_whole_speakers_are_refused():
    with pytest.raises(ValueError, match="whole speakers"):
        CropLength(frames=4, share=1.0, crops=7, clips_per_speaker=2)
