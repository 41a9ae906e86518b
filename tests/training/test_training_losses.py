"""The losses against their formulas in NumPy's float64."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="training needs TensorFlow (the extra train)")

from training.losses import (  # noqa: E402
    AdditiveAngularMargin,
    Losses,
    cosine_loss,
    relational_loss,
    semi_hard_triplet_loss,
)


def units(count: int, dimension: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    return (rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))).astype(np.float32)


def margin_layer(centers: np.ndarray, margin: float, scale: float) -> AdditiveAngularMargin:
    """A layer with these speakers' centres: [speakers, dimension]."""
    layer = AdditiveAngularMargin(len(centers), margin=margin, scale=scale)
    layer.build((None, centers.shape[1]))
    layer.centers.assign(centers.T.astype(np.float32))
    return layer


def margin_loss(vectors: np.ndarray, speakers: np.ndarray, centers: np.ndarray, margin: float, scale: float) -> float:
    """ArcFace with the usual straight line beyond π − margin."""
    losses = []
    for vector, speaker in zip(vectors.astype(np.float64), speakers, strict=True):
        logits = []
        for index, center in enumerate(centers.astype(np.float64)):
            cosine = float(vector @ center / math.sqrt(center @ center))
            cosine = min(1.0 - 1e-6, max(-1.0 + 1e-6, cosine))
            if index == speaker:
                angle = math.acos(cosine)
                beyond = cosine - margin * math.sin(margin)
                cosine = math.cos(angle + margin) if angle < math.pi - margin else beyond
            logits.append(scale * cosine)
        largest = max(logits)
        losses.append(largest + math.log(sum(math.exp(x - largest) for x in logits)) - logits[speaker])
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("margin", "scale"), [(0.2, 32.0), (0.0, 10.0), (0.5, 8.0)])
def test_the_margin_loss_is_arcface(margin, scale):
    vectors, centers = units(40, 6, seed=1), 3.0 * np.random.default_rng(2).standard_normal((7, 6))
    speakers = np.random.default_rng(3).integers(0, 7, size=40)
    found = float(margin_layer(centers, margin, scale)(vectors, speakers.astype(np.int32)))
    assert math.isclose(found, margin_loss(vectors, speakers, centers, margin, scale), rel_tol=1e-4)


def test_beyond_pi_less_the_margin_the_loss_goes_on_in_a_straight_line():
    centers = units(3, 4, seed=4)
    for angle in (math.pi - 0.21, math.pi - 0.19, math.pi - 0.1, math.pi - 0.01, math.pi):
        across = centers[1] - (centers[1] @ centers[0]) * centers[0]
        vector = math.cos(angle) * centers[0] + math.sin(angle) * across / np.sqrt(across @ across)
        speakers = np.array([0], np.int32)
        found = float(margin_layer(centers, 0.2, 32.0)(vector[None].astype(np.float32), speakers))
        assert math.isclose(found, margin_loss(vector[None], speakers, centers, 0.2, 32.0), rel_tol=1e-4)


def test_the_margin_loss_never_falls_as_a_vector_turns_away_from_its_speaker():
    centers = np.eye(3, dtype=np.float32)
    layer = margin_layer(centers, 0.2, 32.0)
    angles = np.linspace(0.0, math.pi, 60)
    losses = []
    for angle in angles:  # towards −e0 by way of −e1, so that no other speaker comes nearer
        vector = np.array([[math.cos(angle), -math.sin(angle), 0.0]], np.float32)
        losses.append(float(layer(vector, np.array([0], np.int32))))
    assert np.all(np.diff(losses) >= -1e-5)
    assert losses[-1] > 30.0


def test_a_speaker_at_its_centre_or_opposite_has_a_finite_gradient():
    layer = margin_layer(np.eye(3, dtype=np.float32), 0.2, 32.0)
    vectors = tf.Variable([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        loss = layer(vectors, np.array([0, 0], np.int32))
    for gradient in tape.gradient(loss, [vectors, layer.centers]):
        assert np.all(np.isfinite(gradient))


def test_the_length_of_a_speakers_centre_does_not_matter():
    vectors, centers = units(10, 5, seed=5), units(4, 5, seed=6)
    speakers = np.arange(10, dtype=np.int32) % 4
    lengths = np.array([[0.1], [1.0], [7.0], [50.0]])
    first = float(margin_layer(centers, 0.2, 32.0)(vectors, speakers))
    assert math.isclose(first, float(margin_layer(lengths * centers, 0.2, 32.0)(vectors, speakers)), rel_tol=1e-4)


def test_the_cosine_loss_is_one_less_the_mean_cosine():
    vectors, targets = units(12, 8, seed=7), units(12, 8, seed=8)
    expected = sum(1.0 - math.fsum(a * b) for a, b in zip(vectors.astype(float), targets.astype(float), strict=True))
    assert math.isclose(float(cosine_loss(vectors, targets)), expected / 12, rel_tol=1e-5)


def test_the_cosine_loss_is_zero_at_the_target_and_two_opposite():
    targets = units(5, 8, seed=9)
    assert abs(float(cosine_loss(targets, targets))) <= 1e-6
    assert abs(float(cosine_loss(-targets, targets)) - 2.0) <= 1e-6


def test_the_relational_loss_is_the_mean_square_over_the_pairs():
    vectors, targets = units(9, 6, seed=10).astype(float), units(9, 6, seed=11).astype(float)
    squares = [
        (math.fsum(vectors[i] * vectors[j]) - math.fsum(targets[i] * targets[j])) ** 2
        for i, j in itertools.permutations(range(9), 2)
    ]
    found = float(relational_loss(vectors.astype(np.float32), targets.astype(np.float32)))
    assert math.isclose(found, sum(squares) / len(squares), rel_tol=1e-4)


def test_the_relational_loss_does_not_see_a_rotation():
    targets = units(9, 6, seed=12)
    rotation, _ = np.linalg.qr(np.random.default_rng(13).standard_normal((6, 6)))
    assert abs(float(relational_loss((targets @ rotation).astype(np.float32), targets))) <= 1e-10


def test_the_relational_loss_of_one_clip_is_not_a_number():
    assert math.isnan(float(relational_loss(units(1, 4, seed=14), units(1, 4, seed=15))))


def triplet_loss(vectors: np.ndarray, speakers: np.ndarray, margin: float) -> float:
    """FaceNet's semi-hard loss in three loops."""
    vectors, losses = vectors.astype(np.float64), []

    def distance(i: int, j: int) -> float:
        return math.sqrt(max(1e-12, 2.0 - 2.0 * math.fsum(vectors[i] * vectors[j])))

    for anchor, positive in itertools.permutations(range(len(vectors)), 2):
        others = [distance(anchor, n) for n in range(len(vectors)) if speakers[n] != speakers[anchor]]
        if speakers[anchor] != speakers[positive] or not others:
            continue
        apart = distance(anchor, positive)
        farther = [d for d in others if d > apart]
        losses.append(max(0.0, margin + apart - (min(farther) if farther else max(others))))
    return sum(losses) / len(losses) if losses else 0.0


def found_triplet_loss(vectors: np.ndarray, speakers: list[int] | np.ndarray, margin: float) -> float:
    return float(semi_hard_triplet_loss(vectors.astype(np.float32), np.array(speakers, np.int32), margin))


@pytest.mark.parametrize("margin", [1.0, 0.2, 0.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_triplet_loss_is_facenets(seed, margin):
    rng = np.random.default_rng(seed)
    vectors, speakers = units(14, 3, seed), rng.integers(0, 4, size=14)
    expected = triplet_loss(vectors, speakers, margin)
    assert math.isclose(found_triplet_loss(vectors, speakers, margin), expected, rel_tol=1e-4, abs_tol=1e-6)


def test_the_triplet_loss_takes_the_farthest_negative_where_none_is_farther_than_the_positive():
    vectors = np.array([[1.0, 0.0], [-1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    # d(0, 1) = 2, and no negative of 0 is farther; of 2 and 3 the farther from 0 is 2, from 1 it is 3.
    from_first, from_second = math.sqrt(2 - 2 * 0.6), math.sqrt(2 + 2 * 0.8)
    expected = ((1.0 + 2.0 - from_first) + (1.0 + 2.0 - from_second)) / 2
    assert math.isclose(found_triplet_loss(vectors, [0, 0, 1, 2], 1.0), expected, rel_tol=1e-5)


def test_a_negative_just_as_far_as_the_positive_is_not_farther():
    vectors = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
    speakers = np.array([0, 0, 1, 2])  # from 0: positive √2, negatives √2 and 2
    assert math.isclose(found_triplet_loss(vectors, speakers, 1.0), triplet_loss(vectors, speakers, 1.0), rel_tol=1e-5)
    farther = max(0.0, 1.0 + math.sqrt(2.0) - 2.0)
    tied = 1.0  # from 1 both negatives are as far as the positive: the farthest, which is no farther
    assert math.isclose(triplet_loss(vectors, speakers, 1.0), (farther + tied) / 2, rel_tol=1e-9)


@pytest.mark.parametrize("speakers", [[0, 1, 2, 3], [0, 0, 0, 0], [0]], ids=["no positive", "no negative", "one clip"])
def test_a_batch_without_a_triplet_has_no_loss_and_a_finite_gradient(speakers):
    vectors = tf.Variable(units(len(speakers), 4, seed=20))
    with tf.GradientTape() as tape:
        loss = semi_hard_triplet_loss(vectors, np.array(speakers, np.int32), 1.0)
    assert float(loss) == 0.0
    assert np.all(np.isfinite(tape.gradient(loss, vectors)))


def test_equal_vectors_have_a_finite_gradient():
    vectors = tf.Variable(np.repeat(units(2, 4, seed=21), 2, axis=0))
    with tf.GradientTape() as tape:
        loss = semi_hard_triplet_loss(vectors, np.array([0, 0, 1, 1], np.int32), 1.0)
    assert np.all(np.isfinite(tape.gradient(loss, vectors)))


def test_of_several_centres_a_speaker_the_nearest_counts():
    vectors, centers = units(20, 5, seed=22), units(9, 5, seed=23)
    speakers = np.arange(20) % 3
    layer = AdditiveAngularMargin(3, margin=0.0, scale=10.0, sub_centers=3)
    layer.build((None, 5))
    layer.centers.assign(centers.T)
    losses = []
    for vector, speaker in zip(vectors.astype(float), speakers, strict=True):
        logits = [10.0 * max(vector @ center for center in centers[3 * k : 3 * k + 3]) for k in range(3)]
        losses.append(math.log(sum(map(math.exp, logits))) - logits[speaker])
    assert math.isclose(float(layer(vectors, speakers.astype(np.int32))), sum(losses) / 20, rel_tol=1e-4)


def test_the_margin_rises_from_nothing_and_stays():
    rising = Losses(speaker=1.0, margin=0.2, margin_rise_steps=100)
    assert [rising.margin_at(step) for step in (0, 50, 100, 5000)] == [0.0, 0.1, 0.2, 0.2]
    assert Losses(speaker=1.0, margin=0.2).margin_at(0) == 0.2
