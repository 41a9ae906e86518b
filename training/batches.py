"""Cached features → batches of crops, the same ones for the same seed and step, so that a stopped run resumes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.augment import Augmentation, augment
from training.features_cache import CachedFeatures


@dataclass(frozen=True)
class CropLength:
    """One kind of batch: crops of so many frames, how often, how many, and from which corpora (weights)."""

    frames: int
    share: float
    crops: int
    corpora: dict[str, float]


@dataclass(frozen=True)
class CropBatch:
    """float32 [crops, frames, bins] features, float32 [crops, dimension] targets, int32 [crops] speakers."""

    features: npt.NDArray[np.float32]
    targets: npt.NDArray[np.float32]
    speakers: npt.NDArray[np.int32]


class CropSampler:
    """Draws batches: a length, then for each crop a corpus, a clip and a place in it; noise of the same length."""

    def __init__(
        self,
        speech: CachedFeatures,
        targets: npt.NDArray[np.float32],
        noise: CachedFeatures,
        lengths: list[CropLength],
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self._speech, self._noise, self._targets = speech, noise, targets
        self._lengths, self._augmentation, self._seed = lengths, augmentation, seed
        names = sorted({row["speaker"] for row in speech.clips})
        index = {name: i for i, name in enumerate(names)}
        self.speakers = len(names)
        self._speaker_of = np.array([index[row["speaker"]] for row in speech.clips], dtype=np.int32)
        corpora = np.array([row["corpus"] for row in speech.clips])
        self._clips_of = {name: np.flatnonzero(corpora == name) for name in np.unique(corpora)}
        self._noise_clips = np.arange(len(noise.clips))

    def batch(self, step: int) -> CropBatch:
        """The batch of a step."""
        rng = np.random.default_rng((self._seed, step))
        shares = np.array([length.share for length in self._lengths])
        length = self._lengths[rng.choice(len(self._lengths), p=shares / shares.sum())]
        weights = np.array(list(length.corpora.values()))
        corpora = rng.choice(list(length.corpora), p=weights / weights.sum(), size=length.crops)
        clips = np.array([rng.choice(self._clips_of[name]) for name in corpora])
        crops = np.stack([_crop(self._speech, clip, length.frames, rng) for clip in clips])
        noises = rng.choice(self._noise_clips, size=length.crops)
        noise = np.stack([_crop(self._noise, clip, length.frames, rng) for clip in noises])
        features = augment(crops, noise, self._augmentation, rng)
        return CropBatch(features, self._targets[clips], self._speaker_of[clips])


def _crop(cached: CachedFeatures, clip: int, frames: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A random stretch of a clip; a shorter clip is repeated to the length."""
    length = cached.length(clip)
    if length <= frames:
        return np.resize(cached.of(clip), (frames, cached.frames.shape[1]))
    start = int(cached.starts[clip] + rng.integers(0, length - frames + 1))
    return np.asarray(cached.frames[start : start + frames], dtype=np.float32)
