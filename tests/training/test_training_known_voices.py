"""The step that moves vectors away from learnt voices, beside its formula written out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from graph_runs import outputs
from onnx import numpy_helper
from rich.console import Console
from tiny_corpus import write_voices

from speakerdb.audio import read
from speakerdb.embedding import average, normalize
from speakerdb.encoder.registry import find_bundle
from training.graph_parts import copied
from training.graph_vectors import voices_of
from training.known_voices import (
    LEVEL,
    NORM,
    PULLED_S,
    PULLS,
    SLOPE,
    VOICES,
    free_direction,
    moved_away,
    parameters,
    with_step,
    without_step,
)

DIMENSION, RATE_HZ = 192, 16_000


@pytest.fixture(scope="module")
def shipped() -> onnx.ModelProto:
    return onnx.load(find_bundle() / "encoder.onnx")


@pytest.fixture(scope="module")
def before(shipped) -> onnx.ModelProto:
    return without_step(shipped)


@pytest.fixture(scope="module")
def voices(shipped) -> np.ndarray:
    """Some learnt voices, and the direction that none of them has a part in."""
    return constant(shipped, "known.voices").astype(np.float32)


def constant(model: onnx.ModelProto, name: str) -> np.ndarray:
    return next(numpy_helper.to_array(value) for value in model.graph.initializer if value.name == name)


def written_out(vectors: np.ndarray, voices: np.ndarray, free: np.ndarray, norm: float, clip_s: float) -> np.ndarray:
    """norm: that the clip's vector had before it was made a unit vector."""
    found, pull = [], np.interp(clip_s, PULLED_S, PULLS)
    for x in vectors.astype(np.float64):
        cosines = np.maximum(voices.astype(np.float64) @ x, 0.0)
        weights = cosines**3
        y = x - pull * (weights @ voices) / weights.sum()
        z = y / np.linalg.norm(y) + (LEVEL - SLOPE * cosines.mean() - NORM * np.log(norm)) * free
        found.append(z / np.linalg.norm(z))
    return np.array(found)


@pytest.mark.parametrize("seconds", [0.5, 2.0, 3.7, 6.0])
def test_vector_and_windows_of_the_shipped_graph_are_what_the_formula_says(shipped, before, voices, voice, seconds):
    free, clip = constant(shipped, "known.free"), np.resize(voice, round(seconds * RATE_HZ))[None]
    unnormalized = next(node for node in before.graph.node if node.output[0] == "embedding").input[0]
    asked = {"windows_wanted": np.array(True)}
    now, then = outputs(shipped, clip, **asked), outputs(before, clip, [unnormalized], **asked)
    norm = float(np.linalg.norm(then[2]))
    assert np.abs(now[0] - written_out(then[0], voices, free, norm, seconds)).max() < 1e-5
    assert now[1].shape == then[1].shape
    assert np.abs(now[1][0, :3] - written_out(then[1][0, :3], voices, free, norm, seconds)).max() < 1e-5


def test_a_clip_beside_others_has_the_vector_that_it_has_alone(shipped, voice):
    several = outputs(shipped, np.stack([voice[:32_000], voice[16_000:48_000]]))
    assert np.abs(several[0][1] - outputs(shipped, voice[None, 16_000:48_000])[0][0]).max() < 1e-5


def test_the_step_can_be_taken_off_again(before, voices):
    changed = moved_away(before, voices, RATE_HZ)
    onnx.checker.check_model(changed)
    assert without_step(changed).SerializeToString() == before.SerializeToString()
    assert without_step(before).SerializeToString() == before.SerializeToString()


def test_a_graph_with_a_vector_alone_gets_the_step_too(before, voices, voice):
    alone = copied(before)
    del alone.graph.output[1:]
    [vector] = outputs(moved_away(alone, voices, RATE_HZ), voice[None])
    assert np.array_equal(vector, outputs(moved_away(before, voices, RATE_HZ), voice[None])[0])


def test_the_draw_is_of_so_many_voices_and_counts_as_parameters(shipped, before, voices):
    assert constant(shipped, "known.voices").shape == (VOICES, DIMENSION)
    assert (parameters(shipped), parameters(before)) == (VOICES * DIMENSION, 0)
    with pytest.raises(ValueError, match=f"{VOICES - 1} voices; {VOICES} are drawn"):
        moved_away(before, voices[1:], RATE_HZ)


def test_a_graph_that_does_not_end_in_a_unit_vector_is_refused(before, voices):
    other = copied(before)
    next(node for node in other.graph.node if node.output[0] == "embedding").op_type = "Add"
    with pytest.raises(ValueError, match="last operation is not to make a unit vector"):
        moved_away(other, voices, RATE_HZ)


def test_the_free_direction_is_one_that_no_voice_has_a_part_in(voices):
    assert np.abs(voices @ free_direction(voices)).max() < 1e-3
    turned = normalize(np.random.default_rng(0).standard_normal((400, DIMENSION)))
    with pytest.raises(ValueError, match="no direction is free"):
        free_direction(turned)
    with pytest.raises(ValueError, match="50 voices are too few to know which of 192 directions is free"):
        free_direction(voices[:50])


def test_two_strangers_who_resemble_the_same_learnt_voice_come_apart(voices):
    rng, free = np.random.default_rng(1), free_direction(voices)
    noise = rng.standard_normal((2, DIMENSION))
    noise -= np.outer(noise @ free, free)
    strangers = normalize(voices[:1] + 0.9 * normalize(noise))
    own = strangers @ voices[0]
    moved = written_out(strangers, voices, np.zeros(DIMENSION), 8.0, 3.0) @ voices[0]
    assert (moved < own - 0.05).all()


def test_a_vector_that_was_long_is_farther_from_all_others(voices):
    rng, free = np.random.default_rng(1), free_direction(voices)
    strangers = normalize(rng.standard_normal((9, DIMENSION)))
    short, long = (written_out(strangers, voices, free, norm, 3.0) for norm in (7.0, 9.0))
    others = ~np.eye(9, dtype=bool)
    assert (long @ free < short @ free).all() and ((long @ long.T)[others] < (short @ short.T)[others]).all()


def test_a_sets_voices_are_the_averages_of_what_the_graph_says_of_its_clips(before, examples, tmp_path):
    archive = write_voices(tmp_path / "some-train.tar", ["eva", "ana"])
    found = voices_of(before, 16_000, archive, tmp_path / "work", Console(quiet=True))
    clips = [read(str(examples / f"ana_{number}.wav"), 16_000).samples for number in (1, 2, 3, 4)]
    assert np.abs(found[0] - average(np.stack([outputs(before, clip[None])[0][0] for clip in clips]))).max() < 1e-5
    assert found.shape == (2, DIMENSION)
    with pytest.raises(ValueError, match=f"2 voices; {VOICES} are drawn"):
        with_step(before, 16_000, archive, tmp_path / "work", Console(quiet=True))
