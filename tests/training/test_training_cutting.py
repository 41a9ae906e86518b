"""Crops of clips: what follows a short one, tempo, shifts, and which of a teacher's frames are still known."""

from __future__ import annotations

import numpy as np
import pytest

from training.cutting import STRIDE, Crop, Cutter, Cutting
from training.features_cache import CachedFeatures
from training.slowing import Slowing

LENGTHS = (40, 44, 50, 42, 200)
SPEAKERS = np.array([0, 0, 0, 1, 1], np.int32)
CORPORA = ("words", "words", "words", "words", "sentences")
TARGETS = np.array([[1, 0, 0], [0.8, 0.6, 0], [-1, 0, 0], [0, 0, 1], [0, 0, 1]], np.float32)
"""Clip 2 sounds like nobody else of its speaker; the last two are one voice."""


def speech() -> CachedFeatures:
    """Bin 0 holds the clip's number, bin 1 the frame's."""
    frames = np.zeros((sum(LENGTHS), 4), np.float16)
    starts = np.cumsum([0, *LENGTHS])
    for clip, length in enumerate(LENGTHS):
        frames[starts[clip] : starts[clip + 1], 0] = clip
        frames[starts[clip] : starts[clip + 1], 1] = np.arange(length)
    return CachedFeatures(frames, starts, [{"corpus": corpus, "path": str(row)} for row, corpus in enumerate(CORPORA)])


def teacher() -> CachedFeatures:
    """Every frame is the feature frame that it begins at."""
    cached = speech()
    frames = [cached.of(clip)[::STRIDE] for clip in range(len(LENGTHS))]
    return CachedFeatures(np.concatenate(frames).astype(np.float16), np.cumsum([0, *map(len, frames)]), cached.clips)


def cut(clip: int, frames: int, seed: int = 0, slowing: Slowing | None = None, **how: object) -> Crop:
    cutter = Cutter(Cutting(**how), speech(), TARGETS, SPEAKERS, teacher(), slowing)
    return cutter.cut(clip, frames, False, np.random.default_rng(seed))


def parts(crop: Crop) -> list[int]:
    """The clips in a crop, in order."""
    clips = crop.features[:, 0].astype(int)
    return [int(clips[0]), *(int(clip) for clip in clips[1:][np.diff(clips) != 0])]


def test_a_short_clip_of_a_joined_corpus_is_followed_by_those_that_sound_like_it():
    seen = {tuple(parts(cut(0, 100, seed, joined=["words"]))) for seed in range(20)}
    assert seen == {(0, 1, 0)}  # 40 + 44 + 16, and never clip 2


def test_who_sounds_like_no_other_follows_itself():
    crop = cut(2, 100, joined=["words"])
    assert parts(crop) == [2]
    assert crop.features[:, 1].tolist() == [*range(48), *range(48), *range(4)]  # whole frames of the teacher
    assert np.allclose(crop.target, TARGETS[2])


def test_the_target_of_joined_clips_is_the_mean_by_their_frames():
    mean = 56 * TARGETS[0] + 44 * TARGETS[1]
    assert np.allclose(cut(0, 100, joined=["words"]).target, mean / np.linalg.norm(mean), atol=1e-6)


def test_other_corpora_and_long_clips_are_not_joined():
    assert parts(cut(3, 100, joined=["sentences"])) == [3]
    assert parts(cut(4, 100, joined=["words", "sentences"])) == [4]
    assert parts(cut(0, 40, joined=["words"])) == [0]


def test_the_teachers_frames_of_joined_clips_are_known_but_for_those_beside_a_joint():
    crop = cut(0, 100, joined=["words"])
    assert crop.taught is not None and crop.valid is not None
    known = crop.valid.astype(bool)
    assert np.array_equal(crop.taught[known], crop.features[::STRIDE][known])
    assert np.flatnonzero(~known).tolist() == [0, 9, 10, 20, 21, 24]


@pytest.mark.parametrize("tempo", [0.85, 1.0, 1.17])
def test_at_another_tempo_every_frame_is_between_two_of_the_clips(tempo):
    crop = cut(4, 100, tempo_share=1.0, tempo=[tempo, tempo])
    assert crop.features.shape == (100, 4)
    assert np.allclose(np.diff(crop.features[:, 1]), tempo, atol=1e-4)
    assert np.array_equal(crop.target, TARGETS[4])
    assert crop.valid is not None and crop.taught is not None
    assert crop.valid[:24].all()
    assert np.allclose(crop.taught[:24, 1], crop.features[:96:STRIDE, 1], atol=1e-3)


def test_the_teachers_frames_of_a_crop_that_is_heard_slowly_are_as_many_as_are_heard():
    crop = cut(4, 60, slowing=Slowing(least_frames=100, slowest=0.5))
    assert crop.features.shape == (60, 4) and crop.taught is not None and crop.valid is not None
    assert (crop.taught.shape, crop.valid.shape) == ((25, 4), (25,))
    assert np.allclose(crop.taught[:23, 1], crop.features[0, 1] + np.arange(23) * STRIDE * 0.6, atol=1e-3)
    assert crop.valid[:23].all()


def test_tempi_are_drawn_in_their_share_and_range():
    steps = [cut(4, 60, seed, tempo_share=0.5, tempo=[0.9, 1.1]).features[:2, 1] for seed in range(200)]
    tempi = np.array([after - before for before, after in steps])
    assert 80 <= np.count_nonzero(np.abs(tempi - 1) > 1e-3) <= 120
    assert tempi.min() >= 0.899 and tempi.max() <= 1.101


def test_a_clip_that_fills_its_crop_is_moved_within_it():
    starts = {int(cut(0, 40, seed, shift_share=1.0, shift_frames=6).features[0, 1]) for seed in range(200)}
    assert starts == {*range(7), *range(34, 40)}
    crop = cut(0, 40, seed=1, shift_share=1.0, shift_frames=6)
    assert sorted(crop.features[:, 1]) == list(range(40))
    assert crop.valid is not None and not crop.valid.any()


def test_a_clip_longer_than_its_crop_is_not_moved():
    crop = cut(4, 100, shift_share=1.0)
    assert np.all(np.diff(crop.features[:, 1]) == 1)
    assert crop.valid is not None and crop.valid.all()


def test_a_clip_shorter_than_a_frame_of_the_teacher_is_repeated():
    cached = CachedFeatures(np.ones((2, 4), np.float16), np.array([0, 2]), [{"corpus": "words", "path": "0"}])
    cutter = Cutter(Cutting(joined=["words"]), cached, TARGETS[:1], SPEAKERS[:1])
    crop = cutter.cut(0, 10, False, np.random.default_rng(0))
    assert crop.features.shape == (10, 4)
    assert crop.taught is None
