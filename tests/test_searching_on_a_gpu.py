"""A copy of an index answers while nothing changes; the GPU itself where FAISS sees one, else a copy in memory."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

pytest.importorskip("faiss", reason="FAISS is an extra (speakerdb[cpu] or speakerdb[gpu])")

import faiss

from speakerdb.embedding import normalize
from speakerdb.index import inverted_file, searching
from speakerdb.index.faiss_index import FaissIndex
from speakerdb.index.searching import COPIED_AFTER, Gpu, Searching

DIMENSION, VOICES = 16, 2000
SEEN = searching.gpu()


def units(rows: int, seed: int = 0) -> np.ndarray:
    return normalize(np.random.default_rng(seed).normal(size=(rows, DIMENSION)))


class Copies:
    """Copies in memory, in a GPU's place, and how many were made."""

    def __init__(self, process: int | None = None) -> None:
        self.made = 0
        self.gpu = Gpu(self.copied, os.getpid() if process is None else process)

    def copied(self, index: Any) -> Any:
        self.made += 1
        return faiss.clone_index(index)


@pytest.fixture
def copies() -> Copies:
    return Copies()


@pytest.fixture(params=["faiss-flat", "faiss-ivf"])
def index(request, copies, monkeypatch):
    for module in ("faiss_index", "inverted_file"):
        monkeypatch.setattr(f"speakerdb.index.{module}.gpu", lambda: copies.gpu)
    made = FaissIndex(DIMENSION) if request.param == "faiss-flat" else inverted_file.trained(units(VOICES), VOICES)
    made.add(np.arange(1, VOICES + 1), units(VOICES))
    return made


def first(index, row: int) -> int:
    return int(index.search(units(VOICES)[row : row + 1], 1)[0][0, 0])


def test_a_copy_is_made_once_after_some_searches_and_finds_the_same(index, copies):
    for row in range(COPIED_AFTER - 1):
        assert first(index, row) == row + 1
    assert copies.made == 0
    for row in range(COPIED_AFTER):
        assert first(index, row) == row + 1
    assert copies.made == 1


def test_a_batch_of_queries_is_worth_a_copy_at_once(index, copies):
    assert (index.search(units(VOICES)[:100], 1)[0][:, 0] == np.arange(1, 101)).all()
    assert copies.made == 1


def test_who_was_removed_is_not_found_in_an_old_copy(index, copies):
    index.search(units(VOICES)[:100], 1)
    assert index.remove(np.array([7])) == 1
    assert first(index, 6) != 7
    index.search(units(VOICES)[:100], 1)
    assert first(index, 6) != 7
    assert copies.made == 2


def test_who_was_added_is_found_at_once(index):
    index.search(units(VOICES)[:100], 1)
    newcomer = units(1, seed=9)
    index.add(np.array([9000]), newcomer)
    assert index.search(newcomer, 1)[0][0, 0] == 9000


def test_a_gpu_without_room_leaves_the_search_in_memory():
    def full(_: Any) -> Any:
        raise RuntimeError("out of memory")

    plain = faiss.IndexFlatIP(DIMENSION)
    plain.add(units(50))
    search = Searching(plain, Gpu(full, os.getpid()))
    with pytest.warns(RuntimeWarning, match="stays off the GPU: out of memory"):
        search.search(units(50), 1)
    assert (search.search(units(50), 1)[0][:, 0] == np.arange(50)).all()


def test_a_child_of_the_process_that_began_with_the_gpu_leaves_it_alone():
    elsewhere, plain = Copies(process=os.getppid()), faiss.IndexFlatIP(DIMENSION)
    plain.add(units(50))
    Searching(plain, elsewhere.gpu).search(units(50), 1)
    assert elsewhere.made == 0


@pytest.mark.skipif(SEEN is None, reason="FAISS sees no GPU here (speakerdb[gpu] on a machine with one)")
@pytest.mark.parametrize("kind", ["faiss-flat", "faiss-ivf"])
def test_the_gpu_finds_what_the_processor_finds(kind):
    made = FaissIndex(DIMENSION) if kind == "faiss-flat" else inverted_file.trained(units(VOICES), VOICES)
    made.add(np.arange(1, VOICES + 1), units(VOICES))
    made._searching = Searching(made._index, None)
    ids, cosines = made.search(units(200, seed=3), 5)
    made._searching = Searching(made._index, SEEN)
    found, near = made.search(units(200, seed=3), 5)
    assert made._searching._copy is not None
    assert (found[:, 0] == ids[:, 0]).mean() >= 0.99  # sums are made in another order
    np.testing.assert_allclose(near, cosines, atol=1e-3)
