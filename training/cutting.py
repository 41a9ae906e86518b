"""A clip → one crop of it: where it lies, what follows a clip that is too short, at which tempo it is heard.

The voice stays what it is in all of it, so that a crop keeps its clip's target; a teacher's frames follow its tempo,
and are known no more where frames were moved.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from training.features_cache import Features
from training.recipe_values import Cosine, Natural, Positive, Share
from training.slowing import Slowing, between
from training.speaker_means import by_speaker

Array = npt.NDArray[np.float32]
Clips = npt.NDArray[np.intp]

STRIDE = 4
"""Feature frames a frame of the teacher, and of a network's front that learns it."""


@dataclass(frozen=True)
class Cutting:
    """What is done to crops where they are cut.

    Attributes:
        joined: corpora whose clips, where they are shorter than their crop, are followed by others of the same voice
            instead of by themselves. least_alike: cosine of two clips' targets, for one to follow the other: a
            speaker's label may be wrong.
        tempo_share, tempo: how often a crop is heard slower or faster, at the pitch that it has, and how much.
        shift_share, shift_frames: how often a clip that is no longer than its crop is moved within it, and how far at
            most; what leaves at one end comes in at the other.
    """

    joined: list[str] = field(default_factory=list)
    least_alike: Cosine = 0.3
    tempo_share: Share = 0.0
    tempo: tuple[Positive, Positive] = (0.85, 1.18)
    shift_share: Share = 0.0
    shift_frames: Natural = 24


@dataclass(frozen=True)
class Crop:
    """float32 [frames, bins] features and float32 [dimension] target.

    Where a teacher's frames are known: float32 [⌈heard / STRIDE⌉, channels] for a crop that is heard in so many frames,
    and which of them are the crop's, float32 [⌈heard / STRIDE⌉] of 1 and 0.
    """

    features: Array
    target: Array
    taught: Array | None = None
    valid: Array | None = None


@dataclass(frozen=True)
class Part:
    """So many frames of a clip from `offset` on."""

    clip: int
    offset: int
    frames: int


class Cutter:
    """Cuts crops out of clips.

    Args:
        speech: the clips. targets: float32 [clips, dimension]. speaker_of: of each clip.
        teacher_frames: a teacher's frames of the same clips, one every `STRIDE` of theirs; crops then begin at one.
        slowing: how slowly the network hears what is short.
    """

    def __init__(
        self,
        how: Cutting,
        speech: Features,
        targets: Array,
        speaker_of: npt.NDArray[np.int32],
        teacher_frames: Features | None = None,
        slowing: Slowing | None = None,
    ) -> None:
        self._slowing = slowing or Slowing()
        self._how, self._speech, self._targets, self._teacher = how, speech, targets, teacher_frames
        self._speaker_of, self._clips_of = speaker_of, by_speaker(speaker_of)
        self._joins = np.array([row["corpus"] in how.joined for row in speech.clips])
        names = [f"{row['corpus']}\t{row['path']}" for row in speech.clips]
        self._recording = np.unique(names, return_inverse=True)[1]  # rows that are one clip, counted more than once

    def cut(self, clip: int, frames: int, from_start: bool, rng: np.random.Generator) -> Crop:
        """A crop of so many frames, from the clip's beginning or a random place."""
        tempo = rng.uniform(*self._how.tempo) if rng.random() < self._how.tempo_share else 1.0
        cut = frames if tempo == 1.0 else STRIDE * (int(np.ceil(frames * tempo / STRIDE)) + 1)
        parts = self._parts(clip, cut, from_start, rng)
        features = np.concatenate([self._speech.stretch(part.clip, part.offset, part.frames) for part in parts])
        features = np.resize(features, (cut, features.shape[1]))  # repeats what is too short
        moved = self._speech.length(clip) <= frames and rng.random() < self._how.shift_share
        if moved:
            features = np.roll(features, rng.integers(-self._how.shift_frames, self._how.shift_frames + 1), axis=0)
        if tempo != 1.0:
            features = between(features, frames, tempo)
        taught, valid = self._taught([] if moved else parts, cut, frames, tempo)
        return Crop(features, self._target(parts), taught, valid)

    def _parts(self, clip: int, frames: int, from_start: bool, rng: np.random.Generator) -> list[Part]:
        """What fills the crop."""
        length = self._speech.length(clip)
        if length >= frames or length < STRIDE or not self._joins[clip]:
            step = 1 if self._teacher is None else STRIDE
            offset = 0 if from_start else random_offset(length, frames, step, rng)
            return [Part(clip, offset, min(length, frames))]
        parts: list[Part] = []
        order, left = self._alike(clip, rng), frames
        while left > 0:
            following = int(order[len(parts) % len(order)])
            part = Part(following, 0, min(left, self._speech.length(following) // STRIDE * STRIDE))
            parts.append(part)
            left -= part.frames
        return parts

    def _alike(self, clip: int, rng: np.random.Generator) -> Clips:
        """The clip, then those of its speaker that sound like it, in random order."""
        own = self._clips_of[self._speaker_of[clip]]
        own = own[np.unique(self._recording[own], return_index=True)[1]]
        alike = self._targets[own] @ self._targets[clip] >= self._how.least_alike
        others = own[(self._recording[own] != self._recording[clip]) & alike]
        others = others[[self._speech.length(int(other)) >= STRIDE for other in others]]
        return np.concatenate([[clip], rng.permutation(others)]).astype(np.intp)

    def _target(self, parts: list[Part]) -> Array:
        """The clip's own; of several the mean, by their frames."""
        if len(parts) == 1:
            return self._targets[parts[0].clip]
        mean = np.sum([part.frames * self._targets[part.clip] for part in parts], axis=0)
        target: Array = (mean / max(float(np.linalg.norm(mean)), 1e-6)).astype(np.float32)
        return target

    def _taught(self, parts: list[Part], cut: int, frames: int, tempo: float) -> tuple[Array | None, Array | None]:
        """The teacher's frames of the parts as the network hears the crop, and which of them are valid.

        Those are that lie within crop and clip, and away from a joint.
        """
        if self._teacher is None:
            return None, None
        count = -(-cut // STRIDE)
        taught, valid, at = np.zeros((count, self._teacher.bins), np.float32), np.zeros(count, np.float32), 0
        for part in parts:
            first = part.offset // STRIDE
            known = min(part.frames // STRIDE, self._teacher.length(part.clip) - first)
            taught[at : at + known] = self._teacher.stretch(part.clip, first, known)
            apart = int(len(parts) > 1)
            valid[at + apart : at + known - apart] = 1.0
            at += part.frames // STRIDE
        heard = self._slowing.length(frames)
        if heard == frames and tempo == 1.0:
            return taught, valid
        count, step = -(-heard // STRIDE), tempo * frames / heard
        whole = between(valid[:, None], count, step)[:, 0] > 1 - 1e-6  # both neighbours are valid
        return between(taught, count, step), whole.astype(np.float32)


def random_offset(available: int, frames: int, step: int, rng: np.random.Generator) -> int:
    """Where a crop begins: a multiple of `step`; 0 in a clip that is no longer than the crop."""
    return 0 if available <= frames else step * int(rng.integers(0, (available - frames) // step + 1))


def stretch_or_repeat(cached: Features, clip: int, frames: int, rng: np.random.Generator) -> Array:
    """So many frames of a clip from a random place; a shorter clip is repeated."""
    offset = random_offset(cached.length(clip), frames, 1, rng)
    stretch = cached.stretch(clip, offset, min(frames, cached.length(clip)))
    return np.resize(stretch, (frames, cached.bins))
