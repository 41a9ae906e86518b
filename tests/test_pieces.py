"""What compares very many voices at once does so in pieces: the same answers, in little memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from speakerdb.embedding import normalize
from speakerdb.gallery import doctor
from speakerdb.index import numpy_index
from speakerdb.index.numpy_index import NumpyIndex

MIB = 1 << 20


def units(rows: int, dimension: int, seed: int = 0) -> np.ndarray:
    return normalize(np.random.default_rng(seed).normal(size=(rows, dimension)))


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def filled(rows: int) -> NumpyIndex:
    index = NumpyIndex(16)
    index.add(np.arange(1, rows + 1), units(rows, 16))
    return index


def test_a_thousand_searches_in_one_call_take_no_more_memory_than_a_few():
    index, queries = filled(20_000), units(1000, 16, seed=1)
    assert peak_bytes(lambda: index.search(queries, 10)) < 64 * MIB  # 320 MiB in one piece


@pytest.mark.parametrize("at_once", [1, 250, 400, 1 << 21])
def test_searches_in_pieces_find_what_one_by_one_they_find(monkeypatch, at_once):
    monkeypatch.setattr(numpy_index, "SCORES_AT_ONCE", at_once)
    index, queries = filled(100), units(7, 16, seed=1)
    for count in (3, 120):
        found, cosines = index.search(queries, count)
        for query, row, near in zip(queries, found, cosines, strict=True):
            [alone], [by_itself] = index.search(query[None], count)
            np.testing.assert_array_equal(alone, row)
            np.testing.assert_allclose(by_itself, near, atol=1e-6)


def test_the_recordings_that_are_farthest_apart_are_found_in_pieces(monkeypatch):
    vectors = units(50, 16)
    cosines = vectors @ vectors.T
    monkeypatch.setattr(doctor, "ROWS_AT_ONCE", 7)
    first, second = doctor._farthest(vectors)
    assert cosines[first, second] == pytest.approx(cosines.min(), abs=1e-6)


def test_thousands_of_recordings_of_one_speaker_are_not_all_compared_in_one_piece():
    vectors = units(5000, 16)
    assert peak_bytes(lambda: doctor._farthest(vectors)) < 16 * MIB  # 95 MiB in one piece
