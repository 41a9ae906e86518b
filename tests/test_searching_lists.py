"""How far an inverted file is searched: further where nobody stands out, and until those who are there are found."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from test_byte_codes import squared, units

from speakerdb.embedding import normalize
from speakerdb.index.byte_codes import cosines
from speakerdb.index.protocol import MISSING

pytest.importorskip("faiss", reason="FAISS is an extra (speakerdb[cpu])")

import faiss

from speakerdb.index import faiss_index, inverted_file
from speakerdb.index.faiss_index import FaissIndex
from speakerdb.index.inverted_file import CROWD, HASHTABLE, InvertedFile

DIMENSION, VOICES = 192, 3000


def filled() -> InvertedFile:
    index = inverted_file.trained(units(VOICES, DIMENSION), VOICES)
    index.add(np.arange(1, VOICES + 1), units(VOICES, DIMENSION))
    return index


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return units(VOICES, DIMENSION)


@pytest.fixture(scope="module")
def index() -> InvertedFile:
    """Not to be changed."""
    return filled()


@pytest.fixture
def searches(index, monkeypatch) -> list[tuple[int, int]]:
    """Rows and lists of each search that FAISS was asked for."""
    asked, nearest = [], index._nearest
    monkeypatch.setattr(index, "_nearest", lambda q, n, how: asked.append((len(q), how.nprobe)) or nearest(q, n, how))
    return asked


def ahead(vectors: np.ndarray, queries: np.ndarray, place: int) -> np.ndarray:
    """By how much the nearest, or the one at another place, is ahead of the 18th."""
    ordered = -np.sort(-(queries @ vectors.T), axis=1)
    return ordered[:, place] - ordered[:, CROWD - 1]


def test_only_the_rows_where_nobody_stands_out_are_searched_further(index, vectors, searches):
    probes = normalize(vectors[:3] + 0.03 * np.random.default_rng(2).normal(size=(3, DIMENSION)))
    strangers = units(200, DIMENSION, seed=5)
    crowd = strangers[np.argsort(ahead(vectors, strangers, 0))[:4]]
    index.search(np.concatenate([crowd[:2], probes, crowd[2:]]), 1)
    assert [rows for rows, _ in searches] == [7, 4]
    assert searches[0][1] < searches[1][1]


def test_who_stands_out_is_the_same_where_all_voices_have_a_part_in_one_direction():
    rng = np.random.default_rng(3)
    cosines_found = 0.3 + rng.uniform(0.05, 0.4, (500, 1)) * rng.uniform(0.0, 1.0, (500, CROWD))
    near = -np.sort(-cosines_found, axis=1).astype(np.float32)
    crowded = inverted_file._crowded(near)
    assert 50 < crowded.sum() < 450
    assert (inverted_file._crowded((near + 0.7) / 1.7) == crowded).mean() > 0.99  # rounding apart


def test_a_voice_of_the_gallery_itself_is_no_one_who_stands_out(index, vectors, searches):
    [row] = np.argsort(ahead(vectors, vectors[:200], 1))[:1]
    index.search(vectors[row : row + 1], 20)
    assert len(searches) == 2


@pytest.mark.parametrize("left", [1, 5, 40])
def test_whoever_is_left_of_a_gallery_that_shrank_is_found_by_any_voice(vectors, left):
    index = filled()
    index.remove(np.arange(left + 1, VOICES + 1))
    found, _ = index.search(np.concatenate([-vectors[:left], units(100, DIMENSION, seed=7)]), left)
    assert (np.sort(found, axis=1) == np.arange(1, left + 1)).all()


def test_who_stands_out_does_not_hide_the_others_that_are_asked_for(vectors):
    index = filled()
    index.remove(np.arange(401, VOICES + 1))
    for count in (100, 400, 500):
        found, _ = index.search(vectors[:100], count)
        assert ((found != MISSING).sum(axis=1) == min(count, 400)).all()


def test_queries_in_one_call_are_answered_as_one_by_one(index, vectors):
    queries = np.concatenate([vectors[:30], units(30, DIMENSION, seed=5)])[np.random.default_rng(1).permutation(60)]
    for count in (1, CROWD, 25):
        ids, near = index.search(queries, count)
        for query, row, its in zip(queries, ids, near, strict=True):
            alone, cosine = index.search(query[None], count)
            np.testing.assert_array_equal((alone[0], cosine[0]), (row, its))
    assert index.search(queries[:0], 3)[0].shape == (0, 3)


def test_several_threads_find_what_one_finds(index):
    queries, wrong = units(40, DIMENSION, seed=5), []
    right = [index.search(query[None], 20)[0] for query in queries]

    def ask() -> None:
        for query, ids in zip(queries, right, strict=True):
            if not np.array_equal(index.search(query[None], 20)[0], ids):
                wrong.append(query)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_lists_of_an_earlier_program_are_refused():
    earlier = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(16), 16, 4, faiss.ScalarQuantizer.QT_8bit_uniform, faiss.METRIC_INNER_PRODUCT, False
    )
    earlier.cp.min_points_per_centroid = 1
    earlier.train(units(300, 16))
    earlier.set_direct_map_type(HASHTABLE)
    with pytest.raises(ValueError, match="other codes"):
        inverted_file.from_bytes(bytes(memoryview(faiss.serialize_index(earlier))), 16)


@pytest.mark.parametrize(
    "forge",
    [
        lambda index: setattr(index, "ntotal", 1 << 40),
        lambda index: setattr(index.sq, "d", 8),
        lambda index: setattr(index, "by_residual", True),
        lambda index: faiss.downcast_index(index.quantizer).reset(),
    ],
)
def test_lists_whose_parts_do_not_fit_are_refused(forge):
    made = inverted_file.trained(units(300, 16), 300)
    made.add(np.arange(1, 301), units(300, 16))
    forge(made._index)
    with pytest.raises(ValueError, match=r"centres|codes|lists|read"):
        inverted_file.from_bytes(bytes(made.to_bytes()), 16)


def test_a_scan_that_counts_what_it_does_not_hold_is_refused():
    made = FaissIndex(16)
    made.add(np.arange(1, 31), units(30, 16))
    faiss.downcast_index(made._index.index).ntotal = 1 << 40
    with pytest.raises(ValueError, match=r"parts|read"):
        faiss_index.from_bytes(bytes(made.to_bytes()), 16)


class ListsAgainstADict(RuleBasedStateMachine):
    """Four lists, which are all searched: adding, replacing, removing and storing in any order."""

    SIZE = 20
    POOL = units(40, SIZE)
    numbers = st.lists(st.integers(1, 40), unique=True, max_size=30)

    def __init__(self) -> None:
        super().__init__()
        self.index, self.known = inverted_file.trained(self.POOL, 1), {}

    @rule(numbers=numbers, first=st.integers(0, 39))
    def add(self, numbers, first):
        rows = self.POOL[[(first + step) % 40 for step in range(len(numbers))]]
        self.index.add(np.array(numbers, np.int64), rows)
        self.known |= dict(zip(numbers, rows, strict=True))

    @rule(numbers=numbers)
    def remove(self, numbers):
        gone = [number for number in numbers if self.known.pop(number, None) is not None]
        assert self.index.remove(np.array(numbers, np.int64)) == len(gone)

    @rule()
    def remove_everybody(self):
        assert self.index.remove(np.array(list(self.known), np.int64)) == len(self.known)
        self.known.clear()

    @rule()
    def store_and_load(self):
        self.index = inverted_file.from_bytes(bytes(self.index.to_bytes()), self.SIZE)

    @invariant()
    def finds_what_the_dict_says(self):
        assert len(self.index) == len(self.known)
        for count in (1, CROWD - 1, CROWD, CROWD + 1, 60):
            found, near = self.index.search(self.POOL[::8], count)
            assert (found.dtype, near.dtype, found.shape) == (np.int64, np.float32, (5, count))
            kept = min(count, len(self.known))
            assert (found[:, kept:] == MISSING).all() and (near[:, kept:] == -np.inf).all()
            if not kept:
                continue
            exact = cosines(squared(self.POOL[::8], np.stack(list(self.known.values()))), self.SIZE)
            np.testing.assert_allclose(near[:, :kept], -np.sort(-exact, axis=1)[:, :kept], atol=1e-5)
            for row, its, cosine in zip(found[:, :kept], exact, near[:, :kept], strict=True):
                assert len({*row.tolist()}) == kept
                by_id = dict(zip(self.known, its, strict=True))
                np.testing.assert_allclose([by_id[number] for number in row.tolist()], cosine, atol=1e-5)


TestListsAgainstADict = ListsAgainstADict.TestCase
TestListsAgainstADict.settings = settings(
    max_examples=15,
    stateful_step_count=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
