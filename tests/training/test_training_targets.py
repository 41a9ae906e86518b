"""The teachers' fused vectors: what their inner products are, and which clip each belongs to."""

from __future__ import annotations

import math

import numpy as np
import pytest

from speakerdb.embedding import normalize
from training.speaker_means import SpeakerMeans, draw_to_means
from training.teachers import Teachers, fuse, published


def teachers(clips: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    return 1.0 + rng.standard_normal((clips, 7)), rng.standard_normal((clips, 5)) - 0.5


def centred_cosines(vectors: np.ndarray) -> np.ndarray:
    centred = vectors - vectors.mean(axis=0)
    lengths = np.sqrt((centred**2).sum(axis=1))
    return centred @ centred.T / np.outer(lengths, lengths)


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0, 3.0])
def test_in_all_dimensions_inner_products_are_the_weighted_mean_of_the_centred_cosines(weight):
    first, second = teachers()
    fused = fuse(first, second, weight, dimension=12).astype(np.float64)
    expected = (centred_cosines(first) + weight * centred_cosines(second)) / (1.0 + weight)
    assert np.abs(fused @ fused.T - expected).max() <= 1e-5


def test_fewer_dimensions_keep_the_nearest_inner_products():
    rng = np.random.default_rng(9)
    speakers = rng.standard_normal((5, 12))
    voices = speakers[np.arange(60) % 5] + 0.02 * rng.standard_normal((60, 12))
    first, second = voices[:, :7], voices[:, 7:]
    expected = (centred_cosines(first) + 0.4 * centred_cosines(second)) / 1.4
    errors = []
    for dimension in (2, 4, 8):
        fused = fuse(first, second, 0.4, dimension).astype(np.float64)
        errors.append(np.abs(fused @ fused.T - expected).mean())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] <= 0.01


def test_fused_vectors_are_float32_of_unit_length():
    for dimension in (1, 6, 12):
        fused = fuse(*teachers(), 0.4, dimension)
        assert fused.shape == (60, dimension)
        assert fused.dtype == np.float32
        assert np.allclose((fused.astype(np.float64) ** 2).sum(axis=1), 1.0, atol=1e-6)


def test_a_teachers_scale_and_offset_do_not_matter():
    first, second = teachers()
    fused, moved = fuse(first, second, 0.4, 12), fuse(5.0 * first - 2.0, second + 9.0, 0.4, 12)
    assert np.abs(fused @ fused.T - moved @ moved.T).max() <= 1e-5


def test_a_clips_target_does_not_depend_on_the_order_of_the_clips():
    first, second = teachers()
    order = np.random.default_rng(10).permutation(60)
    assert np.abs(fuse(first[order], second[order], 0.4, 6) - fuse(first, second, 0.4, 6)[order]).max() <= 1e-4


@pytest.mark.parametrize(("clips", "dimension"), [(60, 13), (8, 9)])
def test_more_dimensions_than_there_are_is_a_value_error(clips, dimension):
    with pytest.raises(ValueError, match=f"{dimension} dimensions"):
        fuse(*teachers(clips), 0.4, dimension)


def write_teachers(folder, clips):
    files = []
    for name, vectors in zip(("first", "second"), teachers(len(clips)), strict=True):
        unit = vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True))
        files.append(folder / f"{name}.npz")
        np.savez(files[-1], clips=np.array(clips), vectors=unit.astype(np.float16))
    return files


def test_targets_come_in_the_order_of_the_names_whatever_the_files_order(tmp_path):
    clips = [f"s{i % 4}/{i}" for i in range(20)]
    files = write_teachers(tmp_path, clips)
    wanted = clips[::-1]
    found = fuse(*(published(file, wanted) for file in files), 0.4, 12)
    stored = [np.load(file)["vectors"].astype(np.float64) for file in files]
    expected = (centred_cosines(stored[0]) + 0.4 * centred_cosines(stored[1])) / 1.4
    assert np.abs(found[::-1] @ found[::-1].T - expected).max() <= 1e-5


def test_only_the_clips_asked_for_count(tmp_path):
    clips = [f"s{i % 4}/{i}" for i in range(20)]
    files = write_teachers(tmp_path, clips)
    few = fuse(*(published(file, clips[3:18]) for file in files), 0.4, 12)
    stored = [np.load(file)["vectors"].astype(np.float64)[3:18] for file in files]
    expected = (centred_cosines(stored[0]) + 0.4 * centred_cosines(stored[1])) / 1.4
    assert np.abs(few @ few.T - expected).max() <= 1e-5


def test_a_clip_without_a_vector_is_an_error_that_names_file_and_clip(tmp_path):
    clips = [f"s/{i}" for i in range(20)]
    files = write_teachers(tmp_path, clips)
    with pytest.raises(ValueError, match=r"first\.npz: no vector of t/1 and 1 more"):
        published(files[0], [*clips, "t/1", "t/2"])


@pytest.mark.parametrize("files", [["a.npz"], ["a.npz"] * 3])
def test_there_must_be_two_teachers_or_none(files):
    with pytest.raises(ValueError, match="two, or none"):
        Teachers(files=files)


def test_a_weight_of_zero_leaves_the_first_teacher_alone():
    first, second = teachers()
    fused = fuse(first, second, 0.0, 12).astype(np.float64)
    assert math.isclose(float(fused[0] @ fused[1]), float(centred_cosines(first)[0, 1]), abs_tol=1e-5)


def test_a_target_is_drawn_to_its_speakers_mean_by_the_share_of_its_corpus():
    targets = normalize(np.array([[1.0, 0.2, 0], [1.0, -0.1, 0.3], [0.9, 0.1, 0], [0, 1.0, 0]])).astype(np.float32)
    drawn = draw_to_means(targets, "0123", ["a", "a", "a", "b"], ["words"] * 4, SpeakerMeans({"words": 0.5}))
    mean = targets[:3].astype(float).sum(axis=0)
    expected = [0.5 * one + 0.5 * mean / np.linalg.norm(mean) for one in targets[:3]]
    assert np.allclose(drawn[:3], [one / np.linalg.norm(one) for one in expected], atol=1e-6)
    assert np.array_equal(drawn[3], targets[3])
    assert np.allclose(
        draw_to_means(targets, "0123", ["a", "a", "a", "b"], ["words"] * 4, SpeakerMeans({"words": 1.0}))[:3],
        np.tile(mean / np.linalg.norm(mean), (3, 1)),
        atol=1e-6,
    )


def test_a_clip_that_is_unlike_its_speakers_others_keeps_its_target_and_counts_for_nothing():
    targets = normalize(np.array([[1.0, 0.1, 0], [1.0, -0.1, 0], [-0.2, 0, 1.0]])).astype(np.float32)
    drawn = draw_to_means(targets, "012", ["a"] * 3, ["words"] * 3, SpeakerMeans({"words": 1.0}, least_alike=0.4))
    assert np.array_equal(drawn[2], targets[2])
    assert np.allclose(drawn[:2], [[1, 0, 0]] * 2, atol=1e-6)


def test_a_clip_that_counts_twice_is_no_other_clip_of_its_speakers():
    targets = np.repeat(np.eye(3, dtype=np.float32)[:2], 2, axis=0)  # two clips that are unlike, each twice
    drawn = draw_to_means(targets, "aabb", ["one"] * 4, ["words"] * 4, SpeakerMeans({"words": 1.0}))
    assert np.array_equal(drawn, targets)


def test_other_corpora_are_left_as_they_are():
    targets = normalize(np.random.default_rng(0).normal(size=(6, 4))).astype(np.float32)
    drawn = draw_to_means(
        targets, "012345", list("aabbcc"), ["words"] * 4 + ["books"] * 2, SpeakerMeans({"books": 0.5}, -1.0)
    )
    assert np.array_equal(drawn[:4], targets[:4])
    assert not np.array_equal(drawn[4:], targets[4:])
