"""What tests of networks share: random weights, made-up features, and vectors of whole or padded clips."""

from __future__ import annotations

import keras
import numpy as np


def randomized(model: keras.Model) -> keras.Model:
    """The model with every weight random, the means and variances of its normalisations too."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        noise = rng.standard_normal(weight.shape)
        weight.assign(weight.numpy() + 0.2 * (np.abs(noise) if "variance" in weight.path else noise))
    return model


def features(frames: int, seed: int = 0) -> np.ndarray:
    return (8.0 + 4.0 * np.random.default_rng(seed).standard_normal((1, frames, 80))).astype(np.float32)


def run(model: keras.Model, crops: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    every_frame = np.ones((*crops.shape[:2], 1), np.float32)
    return np.asarray(model([crops, every_frame if mask is None else mask], training=False))
