"""A few steps of both networks on fixed data, by the backend that KERAS_BACKEND names; prints losses and weights.

KERAS_BACKEND=jax python tests/training/train_on_backend.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import keras
import numpy as np

from training.losses import Losses
from training.networks.bilstm import Bilstm
from training.networks.bilstm import build as build_bilstm
from training.networks.next_tdnn import NextTdnn
from training.networks.next_tdnn import build as build_next_tdnn
from training.student import Student

JIT = keras.backend.backend() == "jax"  # op by op it takes two minutes
STEPS, CROPS, FRAMES, SPEAKERS, DIMENSION = 3, 8, 24, 4, 6
LOSSES = Losses(cosine=1.0, relational=2.0, speaker=0.1, triplet=0.5, margin=0.2, sub_centers=2)


def main() -> None:
    """Print a JSON object."""
    found = {}
    size = NextTdnn(
        bins=10, width=8, blocks=2, kernel=3, aggregated_blocks=2, pooled=8, attention=4, dimension=DIMENSION
    )
    networks = {
        "next-tdnn": build_next_tdnn(size),
        "bilstm": build_bilstm(Bilstm(bins=10, units=5, dimension=DIMENSION)),
    }
    for name, network in networks.items():
        rng = np.random.default_rng(3)
        student = Student(network, SPEAKERS, LOSSES)
        student.compile(optimizer=keras.optimizers.SGD(0.05, momentum=0.9), jit_compile=JIT)
        student(rng.standard_normal((CROPS, FRAMES, 10)).astype(np.float32))
        for weight in student.trainable_variables:
            if "norm" not in weight.path:
                weight.assign(0.3 * rng.standard_normal(weight.shape).astype(np.float32))
        losses = []
        for _ in range(STEPS):
            features = rng.standard_normal((CROPS, FRAMES, 10)).astype(np.float32)
            targets = rng.standard_normal((CROPS, DIMENSION)).astype(np.float32)
            targets /= np.linalg.norm(targets, axis=1, keepdims=True)
            speakers = rng.permutation(np.arange(CROPS, dtype=np.int32) % SPEAKERS)
            values = student.train_on_batch(features, (targets, speakers), return_dict=True)
            losses.append({key: float(value) for key, value in values.items()})
        weights = [keras.ops.convert_to_numpy(weight) for weight in network.weights]
        found[name] = {"losses": losses, "weights": [weight.ravel().tolist() for weight in weights]}
    print(json.dumps(found))


main()
