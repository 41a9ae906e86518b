"""Batches of crops, worsened, with what is to be said of each; a batch is a function of seed, step and process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from training.batches import CropLength
from training.cutting import Cutting
from training.further.course import Further
from training.further.lessons import Lessons
from training.further.made_words import made_word
from training.further.targets import Array, Targets, unit
from training.rooms.impulse_responses import RATE_HZ, Floats
from training.rooms.sounds import Sounds
from training.rooms.worsening import LEVEL_ALONE_DB, Shares, Worsening, gain
from training.sessions import on_one_core
from training.speaker_means import by_speaker

SHARES = Shares(filtered=0.15, room=0.45, noise=0.45, telephone=0.08, codec=0.04, clipping=0.03, level=0.3)
"""How many of the crops befalls what, of those that anything befalls."""
WORDS_ALONE_SHARE, SENTENCES_ALONE_SHARE = 0.7, 0.4
"""Crops that nothing befalls but another level."""
BEFORE_S = 0.6
"""What was said before a crop still echoes."""
LEAST_FILLED = 0.9
"""Of a crop of a sentence: shorter ones are drawn, too, where there are not as many."""
REPEATED_BELOW = 0.85
"""Of a crop: what fills less of it is repeated, what fills more is followed by silence."""
CHOICE = round(0.05 * RATE_HZ)
"""Samples that a word has to have beyond its crop's to be cut here or there: with fewer it would be the same crop
again, and is moved within it, as the recipe's `cutting` asks."""
MADE_OF = 3
"""Words, at most, of whose pieces another is made."""
HEARD_AT_ONCE = 16
"""Crops in the front end: more are no quicker."""

Batch = tuple[npt.NDArray[np.float32], Array]
"""Features [crops, frames, bins], and what is to be said of them [crops, dimension]."""


class Crops:
    """Draws batches.

    Of the recipe's crops it takes lengths, numbers and corpora, of its `cutting` what is joined and how far clips are
    moved; tempos are those of virtual clips.

    Args: front_end: the graph from waveforms to features, as a file's content. lengths: of the recipe's crops.
    Raises: ValueError for a corpus of which there are no clips.
    """

    def __init__(
        self,
        lessons: Lessons,
        targets: Targets,
        sounds: Sounds,
        front_end: bytes,
        lengths: Sequence[CropLength],
        cutting: Cutting,
        how: Further,
    ) -> None:
        self._lessons, self._targets, self._how, self._cutting = lessons, targets, how, cutting
        self._lengths, self._shares = lengths, np.array([length.share for length in lengths])
        self._worsening, self._front_end = Worsening(sounds, SHARES), on_one_core(front_end)
        self._clips_of = by_speaker(lessons.speakers)  # whose numbers count from 0
        self._pools = {
            (str(corpus), virtual): np.flatnonzero((lessons.corpora == corpus) & (lessons.recorded != virtual))
            for corpus in np.unique(lessons.corpora)
            for virtual in (True, False)
        }
        known = {corpus for corpus, _ in self._pools}
        if missing := sorted({corpus for length in lengths for corpus in length.corpora} - known):
            raise ValueError(f"lengths: no clips of {', '.join(missing)}; there are {', '.join(sorted(known))}")

    def batch(self, step: int, process: int) -> Batch:
        """The step's; all processes draw crops of one length."""
        chosen = np.random.default_rng([self._how.seed, step]).choice(
            len(self._lengths), p=self._shares / self._shares.sum()
        )
        length, rng = self._lengths[chosen], np.random.default_rng([self._how.seed, step, process])
        size = samples_of(length)
        drawn = [self.crop(int(clip), size, rng) for clip in self._drawn(length, size, rng)]
        heard = [crop.astype(np.float32) for crop, _ in drawn]
        parts = [np.stack(heard[first : first + HEARD_AT_ONCE]) for first in range(0, len(heard), HEARD_AT_ONCE)]
        features = [self._front_end.run(None, {"waveform": part})[0] for part in parts]
        return np.concatenate(features), np.stack([target for _, target in drawn])

    def crop(self, clip: int, size: int, rng: np.random.Generator) -> tuple[Floats, Array]:
        """A crop of a clip as it is heard: float64 [size]; and its target."""
        samples, before, target = self._cut(clip, size, rng)
        alone = WORDS_ALONE_SHARE if self._targets.words[clip] else SENTENCES_ALONE_SHARE
        if rng.random() < alone:
            return samples[before:] * gain(LEVEL_ALONE_DB, rng), target
        return self._worsening.worsened(samples, rng)[before:], target

    def _cut(self, clip: int, size: int, rng: np.random.Generator) -> tuple[Floats, int, Array]:
        """A crop behind what was said before it, and how much that is."""
        length, how, word = int(self._lessons.lengths[clip]), self._how, bool(self._targets.words[clip])
        if word and length < REPEATED_BELOW * size:
            return self._joined(clip, size, rng)
        if word and rng.random() < how.made_words_share:
            return self._made(clip, size, rng)
        if length >= size + CHOICE * word:
            start = int(rng.integers(0, length - size + 1))
            first = max(0, start - round(BEFORE_S * RATE_HZ))
            return self._lessons.part(clip, first, start + size), start - first, self._targets.of(clip, size, how)
        samples = self._lessons.part(clip, 0, size)
        if length < REPEATED_BELOW * size:
            samples = np.resize(samples, size)
        samples = np.pad(samples, (0, size - len(samples)))
        if rng.random() < self._cutting.shift_share:
            most = round(0.01 * self._cutting.shift_frames * RATE_HZ)
            samples = np.roll(samples, int(rng.integers(-most, most + 1)))
        return samples, 0, self._targets.of(clip, size, how)

    def _made(self, clip: int, size: int, rng: np.random.Generator) -> tuple[Floats, int, Array]:
        """A word of pieces of this one and of others that sound like it."""
        order = self._with_others(clip, size, rng)[:MADE_OF]
        words = [self._lessons.part(word, 0, int(self._lessons.lengths[word])) for word in order]
        samples, given = made_word(words, size, rng)
        return samples, 0, self._of_parts(order, given, size)

    def _joined(self, clip: int, size: int, rng: np.random.Generator) -> tuple[Floats, int, Array]:
        """A word, followed by others that sound like it."""
        order, words, parts, filled = self._with_others(clip, size, rng), list[int](), list[Floats](), 0
        while filled < size:
            words.append(order[len(words) % len(order)])
            parts.append(self._lessons.part(words[-1], 0, size - filled))
            filled += len(parts[-1])
        return np.concatenate(parts), 0, self._of_parts(words, [len(part) for part in parts], size)

    def _of_parts(self, words: Sequence[int], counts: Sequence[int], size: int) -> Array:
        """What is to be said of a crop that has so many samples of each word."""
        said = [count * self._targets.of(word, size, self._how) for word, count in zip(words, counts, strict=True)]
        return unit(np.sum(said, axis=0))

    def _with_others(self, clip: int, size: int, rng: np.random.Generator) -> list[int]:
        """A word, then others of its speaker that sound like it, in any order."""
        own, mine = self._clips_of[int(self._lessons.speakers[clip])], self._targets.of(clip, size, self._how)
        alike = [
            int(other)
            for other in own
            if other != clip and self._targets.of(int(other), size, self._how) @ mine >= self._cutting.least_alike
        ]
        return [clip, *rng.permutation(alike).astype(int).tolist()]

    def _drawn(self, length: CropLength, size: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
        """Numbers of clips: of each corpus its part, of virtual clips theirs."""
        weights = length.corpora or {corpus: float(sum(map(len, self._both(corpus)))) for corpus, _ in self._pools}
        chosen = list[npt.NDArray[np.intp]]()
        for corpus, weight in weights.items():
            wanted = round(length.crops * weight / sum(weights.values()))
            virtual, recorded = self._both(corpus)
            of_virtual = round(wanted * self._how.virtual_share) if len(virtual) else 0
            for own, count in ((virtual, of_virtual), (recorded, wanted - of_virtual)):
                long = own[(self._lessons.lengths[own] >= LEAST_FILLED * size) | self._targets.words[own]]
                pool = long if len(long) >= count else own
                chosen.append(rng.choice(pool, count, replace=count > len(pool)) if count else pool[:0])
        return np.concatenate(chosen)

    def _both(self, corpus: str) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """A corpus's virtual and recorded clips."""
        return self._pools[corpus, True], self._pools[corpus, False]


def samples_of(length: CropLength) -> int:
    """Of a crop of so many frames, 25 ms each, every 10 ms."""
    return round((0.01 * (length.frames - 1) + 0.025) * RATE_HZ)
