"""Words of pieces of others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.further.made_words import made_word

RATE_HZ = 16_000
SIZE = 15_920


def _tone(hertz: float, begin: int, end: int, noise: float = 0.0, size: int = RATE_HZ) -> np.ndarray:
    word = noise * np.random.default_rng(round(hertz)).standard_normal(size)
    word[begin:end] += np.sin(2 * np.pi * hertz * np.arange(end - begin) / RATE_HZ)
    return word


def _loudest_hertz(samples: np.ndarray) -> int:
    return int(np.abs(np.fft.rfft(samples, RATE_HZ)).argmax())


def test_every_word_gives_pieces_in_turn() -> None:
    words = [_tone(hertz, 4_000, 11_000) for hertz in (500.0, 1_000.0, 2_000.0)]
    made, given_of_each = made_word(words, SIZE, np.random.default_rng(3))
    spectrum = np.abs(np.fft.rfft(made, RATE_HZ))
    assert all(count >= 1_600 for count in given_of_each)
    assert all(spectrum[hertz] >= 0.2 * count for hertz, count in zip((500, 1_000, 2_000), given_of_each, strict=True))


def test_what_is_around_a_word_is_no_piece_of_it_but_lies_under_all() -> None:
    word = _tone(500.0, 6_000, 9_000, noise=0.001)
    made, (count,) = made_word([word], SIZE, np.random.default_rng(0))
    frames = np.square(made[: SIZE // 160 * 160].reshape(-1, 160)).mean(axis=1)
    filled = np.count_nonzero(frames > 0.01) * 160
    assert 0.4 * SIZE <= filled <= min(count, SIZE)
    assert 1e-7 <= frames.min() <= 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_a_word_without_silence_around_it_stands_in_silence(seed: int) -> None:
    made, (count,) = made_word([_tone(700.0, 0, RATE_HZ)], SIZE, np.random.default_rng(seed))
    assert 0.04 * SIZE <= np.count_nonzero(made == 0.0) <= 0.56 * SIZE
    assert count == pytest.approx(np.count_nonzero(made), rel=0.2)  # pieces lie over one another where they fade
    assert _loudest_hertz(made) == pytest.approx(700, abs=15)


@given(
    lengths=st.lists(st.integers(1_600, 20_000), min_size=1, max_size=3),
    size=st.integers(8_000, 20_000),
    seed=st.integers(0, 1_000),
    silent=st.booleans(),
)
def test_whatever_the_words_the_made_one_is_whole_and_no_louder_than_two(lengths, size, seed, silent) -> None:
    rng = np.random.default_rng(seed)
    words = [np.zeros(length) if silent else rng.uniform(-1.0, 1.0, length) for length in lengths]
    made, given_of_each = made_word(words, size, rng)
    assert made.shape == (size,) and np.isfinite(made).all()
    assert np.abs(made).max() <= 2.0
    assert len(given_of_each) == len(words) and given_of_each[0] > 0


def test_what_is_left_of_a_frame_belongs_to_a_word_that_ends_with_its_clip() -> None:
    word = _tone(500.0, 6_000, SIZE, noise=0.001, size=SIZE)
    made, _ = made_word([word], SIZE, np.random.default_rng(0))
    frames = np.square(made[: SIZE // 160 * 160].reshape(-1, 160)).mean(axis=1)
    assert np.quantile(frames, 0.02) <= 1e-6  # where no piece lies there is noise, and nothing of the tone
