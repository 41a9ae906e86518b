"""Words that nobody said, of pieces of those that one speaker did.

Train has three words, and a network learns by heart how they sound; people say others. Pieces of a speaker's words,
some of them backwards, one behind another in the noise of the first: what they have in common is the voice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.rooms.impulse_responses import RATE_HZ, Floats

PIECE_S = 0.1, 0.4
"""Of a word, at least and at most; the last is as long as there is room for."""
FILLED = 0.45, 0.95
"""Of the whole; the rest is what was around the first word."""
FRAME = round(0.02 * RATE_HZ)
"""Samples, whose energy tells a word from what is around it."""
FADE = FRAME // 2
"""Samples, in which one piece goes over into the next: no word is shorter than two."""
BACKWARDS_SHARE = 0.3
"""Of the pieces."""
QUIET = 10**-2.5
"""Of the loudest frame's energy."""
NOISE_LEAST_S = 0.1
"""Of less the loop would be heard as a tone."""
NOISE_GAIN = 0.7
"""Of what is around the first word: it lies under pieces that bring their own."""


def made_word(words: Sequence[Floats], size: int, rng: np.random.Generator) -> tuple[Floats, list[int]]:
    """A word of pieces of others, in turn.

    Args: words: of one speaker, float64, at least 0.1 s each. size: in samples, at least 0.5 s.
    Returns: float64 [size]; and how many samples each of the words gave.
    """
    spans = [_spoken(word) for word in words]
    wanted, made, given, turn = round(rng.uniform(*FILLED) * size), np.zeros(FADE), [0] * len(words), 0
    while len(made) < wanted:
        begin, end = spans[turn]
        room = max(2 * FADE, wanted - len(made) + FADE)
        count = min(round(rng.uniform(*PIECE_S) * RATE_HZ), end - begin, room)
        start = int(rng.integers(begin, end - count + 1))
        piece = _faded(words[turn][start : start + count])
        if rng.random() < BACKWARDS_SHARE:
            piece = piece[::-1]
        made[-FADE:] += piece[:FADE]
        made = np.concatenate([made, piece[FADE:]])
        given[turn] += count
        turn = (turn + 1) % len(words)
    samples, start = _around(words[0], spans[0], size), int(rng.integers(0, size - len(made) + 1))
    samples[start : start + len(made)] += made
    return samples, given


def _spoken(word: Floats) -> tuple[int, int]:
    """Where a word begins and ends."""
    frames = word[: len(word) // FRAME * FRAME].reshape(-1, FRAME)
    energies = np.square(frames).mean(axis=1)
    loud = np.flatnonzero(energies >= QUIET * energies.max())
    ends_with_it = loud[-1] == len(frames) - 1  # and what is left of a frame belongs to it
    return int(loud[0]) * FRAME, len(word) if ends_with_it else (int(loud[-1]) + 1) * FRAME


def _faded(piece: Floats) -> Floats:
    rise = np.linspace(0.0, 1.0, FADE)
    faded = piece.copy()
    faded[:FADE] *= rise
    faded[-FADE:] *= rise[::-1]
    return faded


def _around(word: Floats, span: tuple[int, int], size: int) -> Floats:
    """The noise before and behind a word, there and back until it fills the size; silence where there is too little."""
    noise = np.concatenate([word[: span[0]], word[span[1] :]])
    if len(noise) < NOISE_LEAST_S * RATE_HZ:
        return np.zeros(size)
    return NOISE_GAIN * np.resize(np.concatenate([noise, noise[::-1]]), size)
