"""What a channel adds is taken off, beside the same written out; the regression beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from graph_runs import outputs
from onnx import numpy_helper
from rich.console import Console
from sklearn.linear_model import Ridge
from tiny_corpus import write_voices

from speakerdb.encoder.registry import find_bundle
from training.channel_clips import WAYS, Worsened, heard_worsened
from training.channel_offsets import (
    AS_RECORDED,
    DIRECTIONS,
    LEAST_DEVIATION,
    NEAR,
    PENALTY,
    STATISTICS,
    Offset,
    fitted,
    offset,
    parameters,
    with_statistics,
    with_step,
    without_step,
)
from training.graph_parts import copied, floor, mean_taken_off, unit_vector
from training.known_voices import without_step as without_known_voices

DIMENSION, BINS, RATE_HZ, FLOOR = 192, 80, 16_000, 60.0 * np.log(10.0) / 10.0


@pytest.fixture(scope="module")
def before() -> onnx.ModelProto:
    """The shipped graph as it is before this step: short clips are heard three times."""
    return without_step(without_known_voices(onnx.load(find_bundle() / "encoder.onnx")))


@pytest.fixture(scope="module")
def some_offset() -> Offset:
    rng = np.random.default_rng(0)
    return Offset(
        0.01 * rng.standard_normal((3 * BINS, DIRECTIONS)),
        rng.standard_normal(DIRECTIONS),
        np.linalg.qr(rng.standard_normal((DIMENSION, DIRECTIONS)))[0].T,
    )


@pytest.fixture(scope="module")
def after(before, some_offset) -> onnx.ModelProto:
    return offset(before, some_offset)


def statistics(model: onnx.ModelProto, samples: np.ndarray) -> np.ndarray:
    """s of a clip, from its frames below which there is no floor yet: [240]."""
    frames = outputs(model, samples[None], [floor(model)[0].input[0]])[-1][0].astype(np.float64)
    levels = np.maximum(frames - frames.max(), -FLOOR)
    return np.concatenate([levels.mean(axis=0), levels.std(axis=0), (levels < NEAR - FLOOR).mean(axis=0)])


def unnormalized(model: onnx.ModelProto, samples: np.ndarray) -> np.ndarray:
    """The vector before it is made a unit vector."""
    name, _ = unit_vector(model)
    return outputs(model, samples[None], [name])[-1][0].astype(np.float64)


@pytest.mark.parametrize("samples", [1_600, 15_800, 48_000])
def test_statistics_are_of_the_clips_own_frames_below_their_largest(before, voice, samples: int):
    clip = voice[8_000 : 8_000 + samples]
    found, vector = outputs(with_statistics(before), clip[None])
    assert found.shape == (1, 3 * BINS) and np.abs(found[0] - statistics(before, clip)).max() < 1e-3
    assert 0.0 < found[0, 2 * BINS :].max() <= 1.0
    assert np.abs(vector[0] - unnormalized(before, clip)).max() < 1e-5


@pytest.mark.parametrize("samples", [1_600, 15_800, 48_000])
def test_what_the_statistics_say_is_added_to_the_vector(before, after, some_offset, voice, samples: int):
    clip = voice[8_000 : 8_000 + samples]
    added = (statistics(before, clip) @ some_offset.lines + some_offset.base) @ some_offset.directions
    expected, found = unnormalized(before, clip) + added, unnormalized(after, clip)
    assert np.linalg.norm(added) > 0.1 * np.linalg.norm(expected)
    assert np.abs(found - expected).max() < 0.003 * np.linalg.norm(expected)  # kept in float16
    assert np.allclose(outputs(after, clip[None])[0][0], found / np.linalg.norm(found), atol=1e-6)


@pytest.mark.parametrize("samples", [8_000, 40_000])
def test_clips_of_a_batch_have_the_vectors_that_they_have_alone(after, voice, samples: int):
    clips = [gain * voice[at : at + samples] for at, gain in ((0, 1.0), (5_000, 0.1), (8_000, 0.01))]
    for row, clip in enumerate(clips):
        alone = outputs(after, clip[None])[0][0]
        assert np.abs(outputs(after, np.stack(clips))[0][row] - alone).max() < 1e-5


def test_windows_stay_as_they_are(before, after, voice):
    clip, wanted = voice[None, :48_000], np.array(True)
    one, other = (outputs(model, clip, windows_wanted=wanted)[1] for model in (before, after))
    assert one.size and np.array_equal(one, other)


def test_the_step_can_be_taken_off_again(before, after):
    onnx.checker.check_model(after, full_check=True)
    assert without_step(after).SerializeToString() == before.SerializeToString()
    assert without_step(before).SerializeToString() == before.SerializeToString()
    assert parameters(after) == DIRECTIONS * (3 * BINS + 1 + DIMENSION) and parameters(before) == 0


def test_a_graph_without_a_floor_is_refused(before, some_offset):
    other = copied(before)
    next(node for node in other.graph.node if node.output == floor(before)[0].output).op_type = "Min"
    with pytest.raises(ValueError, match="without a floor"):
        offset(other, some_offset)


def test_a_graph_whose_features_keep_their_mean_is_refused(before, some_offset):
    other, (floored, _) = copied(before), floor(before)
    mean, _ = mean_taken_off(before, floored.output[0])
    next(node for node in other.graph.node if node.output == mean.output).op_type = "Add"
    with pytest.raises(ValueError, match="features keep their mean"):
        offset(other, some_offset)


def drawn(clips: int, numbers: int, rank: int, noise: float) -> Worsened:
    """Statistics, and vectors whose difference follows from those of `rank` dimensions."""
    rng = np.random.default_rng(1)
    given = rng.standard_normal((clips, 1 + WAYS, numbers)) * rng.uniform(0.1, 5.0, numbers) + rng.uniform(
        -40.0, 0.0, numbers
    )
    slopes = rng.standard_normal((numbers, rank)) @ rng.standard_normal((rank, DIMENSION))
    clean = rng.standard_normal((clips, 1, DIMENSION))
    missing = (given - given.mean(axis=(0, 1))) @ slopes + noise * rng.standard_normal((clips, 1 + WAYS, DIMENSION))
    missing[:, 0] = 0.0
    return Worsened(given.astype(np.float32), (clean - missing).astype(np.float32))


def test_with_directions_enough_the_regression_is_scikit_learns(monkeypatch):
    heard = drawn(40, 12, 12, noise=1.0)
    monkeypatch.setattr("training.channel_offsets.DIRECTIONS", DIMENSION)
    found = fitted(heard)
    given = heard.statistics.reshape(-1, 12).astype(np.float64)
    missing = (heard.vectors[:, :1].astype(np.float64) - heard.vectors).reshape(len(given), -1)
    weights = np.tile([AS_RECORDED, *np.ones(WAYS)], 40)
    mean = np.average(given, axis=0, weights=weights)
    deviation = np.sqrt(np.average((given - mean) ** 2, axis=0, weights=weights)) + LEAST_DEVIATION
    by_sklearn = Ridge(alpha=PENALTY * weights.sum()).fit((given - mean) / deviation, missing, sample_weight=weights)
    expected = by_sklearn.predict((given - mean) / deviation)
    assert np.abs((given @ found.lines + found.base) @ found.directions - expected).max() < 1e-6


def test_few_directions_say_most_that_as_many_can():
    heard = drawn(60, 30, 20, noise=0.1)
    few = fitted(heard)
    assert few.lines.shape == (30, DIRECTIONS) and few.directions.shape == (DIRECTIONS, DIMENSION)
    assert np.abs(few.directions @ few.directions.T - np.eye(DIRECTIONS)).max() < 1e-9
    given = heard.statistics.reshape(-1, 30).astype(np.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.channel_offsets.DIRECTIONS", DIMENSION)
        all_ = fitted(heard)
    whole = (given @ all_.lines + all_.base) @ all_.directions
    weights = np.sqrt(np.tile([AS_RECORDED, *np.ones(WAYS)], 60))[:, None]
    left, sizes, right = np.linalg.svd(weights * whole, full_matrices=False)
    best = (left[:, :DIRECTIONS] * sizes[:DIRECTIONS]) @ right[:DIRECTIONS]  # Eckart and Young
    found = weights * ((given @ few.lines + few.base) @ few.directions)
    assert np.abs(found - best).max() < 1e-6 * np.abs(best).max() + 1e-6


@pytest.fixture
def few_rooms(monkeypatch) -> None:
    monkeypatch.setattr("training.rooms.sounds.ROOMS", 3)


def test_clips_are_heard_as_they_are_and_worsened_once(before, few_rooms, tmp_path, monkeypatch):
    for name in ("some-train", "noise"):
        write_voices(tmp_path / f"{name}.tar", ["eva", "ana"])
    model, quiet, work = with_statistics(before), Console(quiet=True), tmp_path / "work"
    heard = heard_worsened(model, RATE_HZ, ["some-train"], "noise", tmp_path, work, quiet)
    clips = len(heard.vectors)
    assert heard.statistics.shape == (clips, 1 + WAYS, 3 * BINS) and heard.vectors.shape == (clips, 1 + WAYS, DIMENSION)
    cosines = np.einsum("cwd,cd->cw", heard.vectors, heard.vectors[:, 0])
    cosines /= np.linalg.norm(heard.vectors, axis=2) * np.linalg.norm(heard.vectors[:, :1], axis=2)
    assert 0.3 < cosines[:, 1:].mean() < 0.95 and np.abs(cosines[:, 0] - 1.0).max() < 1e-5
    monkeypatch.setattr("training.channel_clips._heard_of_all", None)  # what was heard is kept
    again = heard_worsened(model, RATE_HZ, ["some-train"], "noise", tmp_path, work, quiet)
    assert np.array_equal(again.vectors, heard.vectors) and not list((work / "last-steps").glob("*.onnx"))
    made = with_step(before, RATE_HZ, ["some-train"], "noise", tmp_path, work, quiet)
    constants = {value.name: numpy_helper.to_array(value) for value in made.graph.initializer}
    assert np.abs(constants["channel.directions"] - fitted(heard).directions).max() < 1e-3


def test_another_rate_than_that_of_the_rooms_is_refused(before, tmp_path):
    with pytest.raises(ValueError, match="worsened at 16000 Hz; the graph hears 8000"):
        heard_worsened(with_statistics(before), 8_000, ["some-train"], "noise", tmp_path, tmp_path, Console(quiet=True))


def test_the_statistics_are_named_in_the_graph(after):
    assert STATISTICS in {name for node in after.graph.node for name in node.output}
