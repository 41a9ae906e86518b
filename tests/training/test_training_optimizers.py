"""The rate of each step, and which weights each optimizer turns."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("keras", reason="training needs Keras (the extra train)")

import keras
import numpy as np

from training.optimization import Optimization
from training.optimizers import Trapezoid, change_of_rate, make_optimizer

HOW = Optimization(steps=100, learning_rate=0.5, warmup_steps=10, constant=True, decay_steps=20)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.05), (4, 0.25), (9, 0.5), (50, 0.5), (80, 0.5), (90, 0.25), (100, 0.0), (120, 0.0)]
)
def test_the_rate_rises_stays_and_falls_in_lines(step, expected):
    assert float(Trapezoid(0.5, 10, 100, 20)(step)) == pytest.approx(expected)


def test_without_warmup_and_decay_the_rate_stays():
    assert {float(Trapezoid(0.5, 0, 100, 0)(step)) for step in (0, 50, 99)} == {0.5}


def test_a_cosine_ends_at_a_hundredth():
    rate = make_optimizer(replace(HOW, constant=False))._learning_rate
    assert float(rate(100)) == pytest.approx(0.005)


def test_more_steps_for_a_training_whose_rate_has_fallen_are_told_with_the_rate():
    assert change_of_rate(HOW, replace(HOW, steps=200), 100) == (
        "200 steps instead of 100: the rate goes from 0 to 0.5 at once, and falls from step 180 to step 200"
    )


def test_more_steps_before_the_fall_of_the_rate_change_nothing_that_is_told():
    assert change_of_rate(HOW, replace(HOW, steps=200), 80) is None


def test_a_cosine_that_becomes_longer_is_told_to_fall_from_its_warmup_on():
    told = change_of_rate(replace(HOW, constant=False), replace(HOW, constant=False, steps=200), 100)
    assert told.endswith("from 0.005 to 0.27 at once, and falls from step 10 to step 200")


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_either_optimizer_takes_a_step_and_can_be_built_before_it(name):
    how = replace(HOW, optimizer=name, learning_rate=0.05)
    model = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(1)])
    optimizer = make_optimizer(how)
    model.compile(optimizer, loss="mse", jit_compile=False)
    x = keras.random.normal((16, 3), seed=1)
    y = x @ keras.ops.array([[1.0], [-2.0], [0.5]])
    model(x)
    optimizer.build(model.trainable_variables)
    losses = [float(model.train_on_batch(x, y)) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]


def heirs() -> keras.Model:
    """A front, a kernel of each kind, and an inherited layer, on frames of two channels."""
    x = keras.Input((6, 4, 1))
    y = keras.layers.Conv2D(2, 3, name="head1")(x)
    y = keras.layers.Conv2D(3, 1, name="head2")(y)
    y = keras.layers.Reshape((4, 6))(y)
    y = keras.layers.DepthwiseConv1D(3, name="block0_time")(y)
    y = keras.layers.Conv1D(5, 2, name="second_0_local")(y)
    return keras.Model(x, keras.layers.Dense(2, name="front")(y))


def moved(share: float, steps: int = 1) -> dict[str, np.ndarray]:
    """How far each weight is moved by steps at a rate of 0.5 without decay."""
    keras.utils.set_random_seed(1)
    model = heirs()
    before = {weight.path: weight.numpy() for weight in model.trainable_variables}
    how = Optimization(steps=100, learning_rate=0.5, constant=True, optimizer="muon", inherited_share=share)
    model.compile(make_optimizer(how), loss="mse", jit_compile=False)
    x = np.random.default_rng(2).standard_normal((8, 6, 4, 1)).astype(np.float32)
    for _ in range(steps):
        model.train_on_batch(x, np.ones((8, 1, 2), np.float32))
    return {weight.path: weight.numpy() - before[weight.path] for weight in model.trainable_variables}


def test_what_is_inherited_moves_by_its_share_of_the_rate():
    half, whole = moved(0.5), moved(0.999999)
    for path, step in whole.items():
        share = 0.5 if path.startswith("second_") else 1.0
        assert np.allclose(half[path], share * step, atol=1e-4), path
    assert np.abs(whole["second_0_local/kernel"]).max() > 0.0


def test_a_kernel_is_turned_as_a_matrix_of_taps_and_inputs_by_outputs():
    steps = moved(0.999999)
    for path in ("head2/kernel", "second_0_local/kernel", "front/kernel"):
        matrix = steps[path].reshape(-1, steps[path].shape[-1])
        # Muon's step: a rotation, whose singular values its five iterations bring near 1, times 0.2 · √(longer side).
        values = np.linalg.svd(matrix, compute_uv=False) / (0.5 * 0.2 * max(matrix.shape) ** 0.5)
        values = values[values > 0.05]  # the gradient may have a lower rank
        assert len(values)
        assert np.all((values > 0.5) & (values < 1.3)), (path, values)
    # One input channel: Adam, whose first step is the rate for every weight.
    for path in ("head1/kernel", "block0_time/kernel"):
        assert np.allclose(np.abs(steps[path]), 0.5, atol=0.02), path


def test_a_share_without_muon_is_refused():
    with pytest.raises(ValueError, match="muon's alone"):
        Optimization(steps=1, learning_rate=0.1, inherited_share=0.5)


def test_an_optimizer_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="there are adamw and muon"):
        replace(HOW, optimizer="sgd")
