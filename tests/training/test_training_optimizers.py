"""The rate of each step, and which weights each optimizer turns."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("keras", reason="training needs Keras (the extra train)")

import keras

from training.optimizers import Trapezoid, make_optimizer
from training.recipe import Optimization

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


def test_an_optimizer_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="there are adamw and muon"):
        replace(HOW, optimizer="sgd")
