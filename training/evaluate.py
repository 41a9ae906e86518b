"""Error rates of a network or a bundle on trial lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from speakerdb.metrics import equal_error_rate
from speakerdb.trials import read_pairs, score_pairs
from training.features_cache import CachedFeatures

BATCH = 32
ROUND_FRAMES = 50
"""Batches are padded to multiples of it, so that few shapes are ever compiled."""


def padded_batches(cached: CachedFeatures) -> Iterator[tuple[list[int], npt.NDArray[np.float32]]]:
    """Clips of near length together: their numbers, and float32 [clips, frames, bins + 1] with the mask last."""
    order = sorted(range(len(cached.clips)), key=cached.length)
    for start in range(0, len(order), BATCH):
        clips = order[start : start + BATCH]
        longest = -(-max(cached.length(clip) for clip in clips) // ROUND_FRAMES) * ROUND_FRAMES
        batch = np.zeros((len(clips), longest, cached.frames.shape[1] + 1), np.float32)
        for row, clip in enumerate(clips):
            batch[row, : cached.length(clip), :-1] = cached.of(clip)
            batch[row, : cached.length(clip), -1] = 1.0
        yield clips, batch


def embed_cached(network: keras.Model, cached: CachedFeatures) -> dict[str, npt.NDArray[np.float32]]:
    """Unit vectors of whole clips by path."""
    vectors = {}
    for clips, batch in padded_batches(cached):
        outputs = network.predict_on_batch([batch[..., :-1], batch[..., -1:]])
        vectors.update({cached.clips[clip]["path"]: out for clip, out in zip(clips, outputs, strict=True)})
    return vectors


def dev_error_rates(network: keras.Model, dev: dict[str, CachedFeatures], trials: Path) -> dict[str, float]:
    """EER in percent on the pairs of each dev corpus, and their mean under `mean`, by which to choose."""
    rates = {}
    for name, cached in dev.items():
        scores = score_pairs(read_pairs(trials / f"{name}-pairs.txt"), embed_cached(network, cached))
        rates[name] = 100.0 * equal_error_rate(scores.target, scores.nontarget).rate
    rates["mean"] = float(np.mean(list(rates.values())))
    return rates
