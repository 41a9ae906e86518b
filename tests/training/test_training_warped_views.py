"""Short clips heard three times, beside the same written out with filters that are warped by themselves."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from graph_runs import outputs
from onnx import numpy_helper
from rich.console import Console
from tiny_corpus import write_voices

from speakerdb.encoder.registry import find_bundle
from training.graph_parts import copied, mel_product, unit_vector
from training.graph_vectors import clips_of
from training.last_steps import without_last_steps
from training.recipe import Recipe
from training.warped_views import (
    SHARE,
    WARPS,
    heard_thrice,
    parameters,
    rotation_between,
    warped,
    with_views,
    without_views,
)

DIMENSION, RATE_HZ, LONGEST = 192, 16_000, 31_600
THIRD = Recipe.load("third")
BANK = THIRD.front_end


@pytest.fixture(scope="module")
def plain() -> onnx.ModelProto:
    """The shipped graph as its training left it."""
    return without_last_steps(onnx.load(find_bundle() / "encoder.onnx"))


@pytest.fixture(scope="module")
def rotation() -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(0).standard_normal((DIMENSION, DIMENSION)))[0]


@pytest.fixture(scope="module")
def thrice(plain, rotation) -> onnx.ModelProto:
    return heard_thrice(plain, BANK, rotation, LONGEST)


def unnormalized(model: onnx.ModelProto, samples: np.ndarray) -> np.ndarray:
    """The vector before it is made a unit vector."""
    name, _ = unit_vector(model)
    return outputs(model, samples[None], [name])[-1][0].astype(np.float64)


def mel_triangles(frequencies: np.ndarray) -> np.ndarray:
    """Kaldi's filters at any frequency: [frequencies, 80], from 20 Hz to 8 kHz."""
    low, high = (1127.0 * np.log1p(hz / 700.0) for hz in (20.0, 8000.0))
    step = (high - low) / 81
    places = (1127.0 * np.log1p(frequencies / 700.0) - low)[:, None] / step - np.arange(80)
    return np.maximum(0.0, np.minimum(places, 2.0 - places))


def warped_by_hand(model: onnx.ModelProto, warp: float) -> onnx.ModelProto:
    """What lies at f is heard as if it lay at warp · f: filters drawn over the axis that is so stretched."""
    changed = copied(model)
    name = mel_product(model).input[1]
    filters = next(value for value in changed.graph.initializer if value.name == name)
    lines = np.flatnonzero(BANK.filters().any(axis=1)) * RATE_HZ / 512
    assert np.abs(mel_triangles(lines) - numpy_helper.to_array(filters)).max() < 1e-4
    filters.CopyFrom(numpy_helper.from_array((warp * mel_triangles(warp * lines)).astype(np.float32), name))
    return changed


@pytest.mark.parametrize("samples", [8_000, 15_800, 16_000, 24_000])
def test_a_short_clip_is_the_mean_of_three_views(plain, thrice, rotation, voice, samples: int):
    clip, down, up = voice[8_000 : 8_000 + samples], *(warped(plain, BANK, warp) for warp in WARPS)
    share = min(SHARE, 2 * SHARE * (1 - samples / LONGEST))
    others = unnormalized(down, clip) @ rotation + unnormalized(up, clip) @ rotation.T
    expected = (unnormalized(plain, clip) + share * others) / (1.0 + 2.0 * share)
    found = unnormalized(thrice, clip)
    assert np.abs(found - expected).max() < 0.01 * np.linalg.norm(expected)  # the rotation is kept in float16
    assert outputs(thrice, clip[None])[0][0] @ found == pytest.approx(np.linalg.norm(found), rel=1e-5)
    if samples <= 16_000:
        assert outputs(plain, clip[None])[0][0] @ expected < 0.98 * np.linalg.norm(expected)


@pytest.mark.parametrize("samples", [LONGEST, 48_000])
def test_a_longer_clip_is_heard_as_before_to_the_bit(plain, thrice, voice, samples: int):
    for before, after in zip(
        outputs(plain, voice[None, :samples]), outputs(thrice, voice[None, :samples]), strict=True
    ):
        assert np.array_equal(before, after)


def test_the_shortest_of_the_longer_clips_is_the_first_that_is_not_slowed(plain, thrice, voice):
    slowing = THIRD.network.slowing
    assert [slowing.length(BANK.frames(samples)) - BANK.frames(samples) for samples in (LONGEST - 1, LONGEST)] == [1, 0]
    clips = [voice[None, :samples] for samples in (LONGEST - 1, LONGEST - 3_200)]
    changes = [np.abs(outputs(plain, clip)[0] - outputs(thrice, clip)[0]).max() for clip in clips]
    assert 0.0 < changes[0] < 1e-4 < 0.005 < changes[1]


def test_windows_are_of_the_clip_as_it_is(plain, thrice, voice):
    clip, wanted = voice[None, :16_000], np.array(True)
    before, after = (outputs(model, clip, windows_wanted=wanted)[1] for model in (plain, thrice))
    assert before.shape == after.shape == (1, 2, DIMENSION)
    assert np.abs(before - after).max() < 1e-5


@pytest.mark.parametrize("samples", [8_000, 40_000])
def test_clips_of_a_batch_have_the_vectors_and_windows_that_they_have_alone(thrice, voice, samples: int):
    clips, wanted = [voice[at : at + samples] for at in (0, 5_000, 8_000)], np.array(True)
    together = outputs(thrice, np.stack(clips), windows_wanted=wanted)
    for row, clip in enumerate(clips):
        for found, alone in zip(together, outputs(thrice, clip[None], windows_wanted=wanted), strict=True):
            assert np.abs(found[row] - alone[0]).max() < 1e-5


def test_the_step_can_be_taken_off_again(plain, thrice):
    onnx.checker.check_model(thrice, full_check=True)
    assert without_views(thrice).SerializeToString() == plain.SerializeToString()
    assert without_views(plain).SerializeToString() == plain.SerializeToString()
    assert (parameters(thrice), parameters(plain)) == (DIMENSION**2, 0)


@pytest.mark.parametrize("warp", [*WARPS, 1.0])
def test_a_graph_that_hears_other_frequencies_is_nearly_the_one_with_warped_filters(plain, voice, warp: float):
    clip = voice[:24_000]
    by_hand, found = (unnormalized(model, clip) for model in (warped_by_hand(plain, warp), warped(plain, BANK, warp)))
    # Between lines a spectrum is taken in a line, which is coarse where a filter is two of them wide.
    assert found @ by_hand > (0.98 if warp != 1.0 else 1.0 - 1e-6) * np.linalg.norm(found) * np.linalg.norm(by_hand)
    if warp != 1.0:
        assert unnormalized(plain, clip) @ by_hand < 0.9 * np.linalg.norm(unnormalized(plain, clip)) * np.linalg.norm(
            by_hand
        )


def test_the_rotation_between_vectors_is_the_one_that_they_were_turned_by(rotation):
    before = np.random.default_rng(1).standard_normal((500, DIMENSION)).astype(np.float32)
    noise = 0.01 * np.random.default_rng(2).standard_normal(before.shape)
    found = rotation_between(before, (before @ rotation + noise).astype(np.float32))
    assert np.abs(found @ found.T - np.eye(DIMENSION)).max() < 1e-9
    assert np.abs(found - rotation).max() < 0.01


def test_one_rotation_is_fitted_to_both_directions_by_what_the_graph_says_of_a_set(plain, tmp_path, monkeypatch):
    archive, quiet = write_voices(tmp_path / "some-train.tar", ["eva", "ana"]), Console(quiet=True)
    made = with_views(plain, BANK, THIRD.network.slowing, archive, tmp_path / "work", quiet)
    monkeypatch.setattr("training.graph_vectors.embed_clips", lambda clips, *_: None)  # what was heard is kept
    again = with_views(plain, BANK, THIRD.network.slowing, archive, tmp_path / "work", quiet)
    assert again.SerializeToString() == made.SerializeToString()
    constants = {value.name: numpy_helper.to_array(value) for value in made.graph.initializer}
    found = constants["warped.rotation"].astype(np.float64)
    assert constants["warped.longest"].tolist() == [LONGEST]
    down, as_it_is, up = (
        np.concatenate([np.stack(own) for own in clips_of(view, RATE_HZ, archive, tmp_path / "work", quiet).values()])
        for view in (warped(plain, BANK, WARPS[0]), plain, warped(plain, BANK, WARPS[1]))
    )
    for before, after in ((down @ found, as_it_is), (up @ found.T, as_it_is)):
        assert np.sum(before * after, axis=1).mean() > 0.95


@pytest.mark.parametrize(
    ("made", "message"), [("log", "without a mel filter bank"), ("embedding", "to make a unit vector")]
)
def test_a_graph_without_what_is_changed_is_refused(plain, rotation, made: str, message: str):
    other = copied(plain)
    node = next(one for one in other.graph.node if made in (one.op_type.lower(), one.output[0]))
    node.op_type = "Add" if made == "embedding" else "Exp"
    with pytest.raises(ValueError, match=message):
        heard_thrice(other, BANK, rotation, LONGEST)
