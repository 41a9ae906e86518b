"""The student that the loop trains: what a step must change."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra: pip install '.[train]'")

import keras

from training.networks.next_tdnn import NextTdnn, build
from training.recipe import Recipe
from training.student import Student


def test_a_step_moves_the_statistics_of_batch_normalisation() -> None:
    # Keras hands `training` on only where a model's `call` names it; without, the network trains unnormalised.
    student = Student(build(NextTdnn(width=8, blocks=1, pooled=8, attention=4, dimension=4)), 3, _losses())
    student.compile(optimizer=keras.optimizers.SGD(0.0), jit_compile=False)
    rng = np.random.default_rng(0)
    features = rng.normal(5.0, 2.0, (4, 30, 80)).astype(np.float32)
    targets = np.eye(4, dtype=np.float32)
    student(features)
    norm = student.network.get_layer("stem_norm")
    before = keras.ops.convert_to_numpy(norm.moving_variance).copy()
    student.train_on_batch(features, (targets, np.array([0, 1, 2, 0], np.int32)))
    assert not np.allclose(before, keras.ops.convert_to_numpy(norm.moving_variance))


def _losses():
    return Recipe.load("first").losses
