"""Cached features → batches of crops, the same ones for the same seed and step, so that a stopped run resumes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from training.augment import Augmentation, augment
from training.cutting import Clips, Cutter, Cutting, stretch_or_repeat
from training.features_cache import CachedFeatures, Features
from training.recipe_values import Count, Weight
from training.slowing import Slowing

ANY = ""
"""All corpora together."""


@dataclass(frozen=True)
class CropLength:
    """One kind of batch.

    Attributes:
        frames: of each crop. crops: in a batch. share: how often, against the other kinds.
        corpora: weights of the corpora that clips come from; empty draws from all clips alike.
        clips_per_speaker: 1 draws clips; K ≥ 2 draws crops / K speakers who have two clips or more, and K clips of
            each (another crop of one of them where there are fewer), so that every crop has a positive.
        from_start: the beginning of a clip instead of a random place in it.
    """

    frames: Count
    share: Weight
    crops: Count
    corpora: dict[str, Weight] = field(default_factory=dict)
    clips_per_speaker: Count = 1
    from_start: bool = False

    def __post_init__(self) -> None:
        if self.crops % self.clips_per_speaker:
            raise ValueError(f"{self.crops} crops are not whole speakers of {self.clips_per_speaker} clips")


@dataclass(frozen=True)
class CropBatch:
    """float32 [crops, frames, bins] features, float32 [crops, dimension] targets, int32 [crops] speakers.

    Where a teacher's frames are known: float32 [crops, ⌈heard / STRIDE⌉, channels], and which of them the clip really
    has, float32 [crops, ⌈heard / STRIDE⌉] of 1 and 0.
    """

    features: npt.NDArray[np.float32]
    targets: npt.NDArray[np.float32]
    speakers: npt.NDArray[np.int32]
    frames: npt.NDArray[np.float32] | None = None
    valid: npt.NDArray[np.float32] | None = None

    @property
    def truth(self) -> tuple[npt.NDArray[np.generic], ...]:
        """What the losses hold the network's output against."""
        if self.frames is None or self.valid is None:
            return self.targets, self.speakers
        return self.targets, self.speakers, self.frames, self.valid


class CropSampler:
    """Draws batches: a length, then speakers or clips, a place in each clip, and noise of the same length.

    Args:
        speech: what to crop. targets: float32 [clips, dimension], the teachers' vectors, or None.
        noise: to mix in; None leaves the augmentation out.
        teacher_frames: a teacher's frames of the same clips, one every `STRIDE` of theirs; crops then begin at one.
        cutting: what is done to crops where they are cut. slowing: how slowly the network hears what is short.
    """

    def __init__(
        self,
        speech: Features,
        targets: npt.NDArray[np.float32] | None,
        noise: CachedFeatures | None,
        lengths: list[CropLength],
        augmentation: Augmentation,
        seed: int,
        teacher_frames: Features | None = None,
        cutting: Cutting | None = None,
        slowing: Slowing | None = None,
    ) -> None:
        self._noise, self._lengths = noise, lengths
        self._augmentation, self._seed = augmentation, seed
        self._targets = np.zeros((len(speech.clips), 1), np.float32) if targets is None else targets
        names = sorted({row["speaker"] for row in speech.clips})
        index = {name: i for i, name in enumerate(names)}
        self.speakers = len(names)
        self._speaker_of = np.array([index[row["speaker"]] for row in speech.clips], dtype=np.int32)
        corpora = np.array([row["corpus"] for row in speech.clips])
        self._clips_of = {name: np.flatnonzero(corpora == name) for name in np.unique(corpora)}
        self._clips_of[ANY] = np.arange(len(speech.clips))
        missing = {name for length in lengths for name in length.corpora} - self._clips_of.keys()
        if missing:
            raise ValueError(f"the batches want clips of {', '.join(sorted(missing))}, and there are none")
        self._groups = {name: self._grouped(clips) for name, clips in self._clips_of.items()}
        self._cutter = Cutter(cutting or Cutting(), speech, self._targets, self._speaker_of, teacher_frames, slowing)

    def batch(self, step: int) -> CropBatch:
        """The batch of a step."""
        rng = np.random.default_rng((self._seed, step))
        shares = np.array([length.share for length in self._lengths])
        length = self._lengths[rng.choice(len(self._lengths), p=shares / shares.sum())]
        clips = self._draw(length, rng)
        crops = [self._cutter.cut(int(clip), length.frames, length.from_start, rng) for clip in clips]
        features = np.stack([crop.features for crop in crops])
        if self._noise is not None:
            noises = rng.choice(len(self._noise.clips), size=length.crops)
            noise = [stretch_or_repeat(self._noise, int(clip), length.frames, rng) for clip in noises]
            features = augment(features, np.stack(noise), self._augmentation, rng)
        return CropBatch(
            features,
            np.stack([crop.target for crop in crops]),
            self._speaker_of[clips],
            _stacked([crop.taught for crop in crops]),
            _stacked([crop.valid for crop in crops]),
        )

    def speaker_targets(self) -> npt.NDArray[np.float32]:
        """The direction of each speaker's mean target: float32 [dimension, speakers], unit length."""
        sums = np.zeros((self.speakers, self._targets.shape[1]), np.float32)
        np.add.at(sums, self._speaker_of, self._targets)
        return (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)).T

    def _draw(self, length: CropLength, rng: np.random.Generator) -> Clips:
        """The clips of a batch."""
        per_speaker = length.clips_per_speaker
        weights = length.corpora or {ANY: 1.0}
        shares = np.array(list(weights.values()))
        counts = rng.multinomial(length.crops // per_speaker, shares / shares.sum())
        clips = []
        for name, count in zip(weights, counts, strict=True):
            items = self._groups[name] if per_speaker > 1 else self._clips_of[name]
            for item in rng.choice(len(items), size=count, replace=count > len(items)):
                clips.append(_some(items[item], per_speaker, rng) if per_speaker > 1 else items[item : item + 1])
        return np.concatenate(clips)

    def _grouped(self, clips: Clips) -> list[Clips]:
        """The clips of each speaker who has two or more among these."""
        order = clips[np.argsort(self._speaker_of[clips], kind="stable")]
        groups = np.split(order, np.flatnonzero(np.diff(self._speaker_of[order])) + 1)
        return [group for group in groups if len(group) > 1]


def _some(clips: Clips, count: int, rng: np.random.Generator) -> Clips:
    """So many of a speaker's clips in random order, all of them before any comes again."""
    rounds = -(-count // len(clips))
    return np.concatenate([rng.permutation(clips) for _ in range(rounds)])[:count]


def _stacked(arrays: list[npt.NDArray[np.float32] | None]) -> npt.NDArray[np.float32] | None:
    """One array of them; None where there is no teacher."""
    known = [array for array in arrays if array is not None]
    return np.stack(known) if known else None
