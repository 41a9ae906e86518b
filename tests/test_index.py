"""Both engines behind the one protocol, against exact float64 search in a plain dict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from speakerdb.embedding import normalize
from speakerdb.errors import InputError
from speakerdb.index.engine import KINDS, load_index, make_index, resolve
from speakerdb.index.protocol import MISSING, VectorIndex

ENGINES = ["numpy", "faiss-flat"]
TOLERANCE = 1e-6
"""Of a float32 inner product of unit vectors."""

Oracle = dict[int, np.ndarray]


@pytest.fixture(params=ENGINES)
def kind(request) -> str:
    if request.param == "faiss-flat":
        pytest.importorskip("faiss", reason="FAISS is an extra (speakerdb[cpu])")
    return request.param


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Searches this small are over before FAISS has woken its threads, which then spin for nothing."""
    if resolve("auto") == "faiss-flat":
        import faiss

        faiss.omp_set_num_threads(1)


def units(rows: int, dimension: int, seed: int = 0) -> np.ndarray:
    return normalize(np.random.default_rng(seed).normal(size=(rows, dimension)))


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def assert_agrees(index: VectorIndex, oracle: Oracle, queries: np.ndarray, count: int) -> None:
    """Scores within a tolerance; ids only where no other id scores as much."""
    assert len(index) == len(oracle)
    found, cosines = index.search(queries, count)
    assert found.shape == cosines.shape == (len(queries), count)
    assert (found.dtype, cosines.dtype) == (np.int64, np.float32)
    kept = min(count, len(oracle))
    assert (found[:, kept:] == MISSING).all()
    assert (cosines[:, kept:] == -np.inf).all()
    for query, row, row_cosines in zip(queries, found[:, :kept], cosines[:, :kept], strict=True):
        exact = {speaker: float(query.astype(float) @ vector) for speaker, vector in oracle.items()}
        assert len(set(row.tolist())) == kept
        np.testing.assert_allclose(row_cosines, [exact[speaker] for speaker in row.tolist()], atol=TOLERANCE)
        ranked = sorted(exact.items(), key=lambda item: -item[1])
        np.testing.assert_allclose(row_cosines, [cosine for _, cosine in ranked[:kept]], atol=TOLERANCE)
        for place, (speaker, cosine) in enumerate(ranked[:kept]):
            rivals = [other for other, score in ranked if abs(score - cosine) <= 4 * TOLERANCE]
            if rivals == [speaker]:
                assert row[place] == speaker


def test_an_empty_index_finds_nobody(kind):
    index = make_index(kind, 4)
    assert index.kind == kind
    assert index.dimension == 4
    assert_agrees(index, {}, units(3, 4), 5)


def test_the_nearest_come_first_with_their_cosines(kind):
    index, vectors = make_index(kind, 192), units(200, 192)
    numbers = np.arange(1000, 1200)
    index.add(numbers, vectors)
    oracle = dict(zip(numbers.tolist(), vectors.astype(float), strict=True))
    assert_agrees(index, oracle, units(20, 192, seed=1), 7)
    found, cosines = index.search(vectors, 1)
    np.testing.assert_array_equal(found[:, 0], numbers)
    np.testing.assert_allclose(cosines[:, 0], 1.0, atol=TOLERANCE)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 100])
def test_asking_for_more_than_there_are_pads_with_missing(kind, count):
    index, vectors = make_index(kind, 8), units(3, 8)
    index.add(ids(5, 6, 7), vectors)
    assert_agrees(index, dict(zip([5, 6, 7], vectors.astype(float), strict=True)), units(2, 8, seed=1), count)


def test_adding_an_id_again_replaces_its_vector(kind):
    index, vectors = make_index(kind, 8), units(4, 8)
    index.add(ids(1, 2, 3), vectors[:3])
    index.add(ids(2), vectors[3:])
    oracle = {1: vectors[0], 2: vectors[3], 3: vectors[2]}
    assert_agrees(index, {speaker: vector.astype(float) for speaker, vector in oracle.items()}, vectors, 4)


def test_removal_leaves_every_other_id_with_its_own_vector(kind):
    index, vectors = make_index(kind, 16), units(50, 16)
    index.add(np.arange(1, 51), vectors)
    oracle = {number + 1: vector.astype(float) for number, vector in enumerate(vectors)}
    for gone in (1, 50, 25, 2, 49):  # first, last, and those that took their places
        assert index.remove(ids(gone)) == 1
        del oracle[gone]
        assert_agrees(index, oracle, vectors, 3)
    assert index.remove(ids(*oracle)) == 45
    assert_agrees(index, {}, vectors[:1], 2)


def test_ids_that_are_not_there_are_passed_over(kind):
    index, vectors = make_index(kind, 4), units(2, 4)
    assert index.remove(ids(1, 2)) == 0
    index.add(ids(1, 2), vectors)
    assert index.remove(ids(2, 3, 2)) == 1
    assert index.remove(ids()) == 0
    assert_agrees(index, {1: vectors[0].astype(float)}, vectors, 1)


def test_the_largest_id_of_the_database_can_be_held(kind):
    index, vectors = make_index(kind, 4), units(1, 4)
    index.add(ids((1 << 63) - 1), vectors)
    assert index.search(vectors, 1)[0].tolist() == [[(1 << 63) - 1]]


def test_no_ids_are_no_change(kind):
    index = make_index(kind, 4)
    index.add(ids(), np.empty((0, 4), np.float32))
    assert len(index) == 0


@pytest.mark.parametrize(
    ("numbers", "shape"),
    [
        pytest.param(ids(1, 2), (2, 5), id="another dimension"),
        pytest.param(ids(1, 2), (3, 4), id="more vectors than ids"),
        pytest.param(ids(1, 2, 3), (2, 4), id="more ids than vectors"),
        pytest.param(ids(1), (4,), id="one vector that is no row"),
        pytest.param(ids(1).reshape(1, 1), (1, 4), id="ids that are no row"),
        pytest.param(ids(1), (1, 4, 1), id="three axes"),
        pytest.param(ids(1, 1), (2, 4), id="an id twice"),
    ],
)
def test_vectors_that_do_not_fit_their_ids_are_refused_and_nothing_changes(kind, numbers, shape):
    index, vectors = make_index(kind, 4), units(2, 4)
    index.add(ids(1, 2), vectors)
    with pytest.raises(ValueError, match=r"ids .* need vectors|an id stands twice"):
        index.add(numbers, np.ones(shape, np.float32))
    assert_agrees(index, {1: vectors[0].astype(float), 2: vectors[1].astype(float)}, vectors, 2)


@pytest.mark.parametrize(("shape", "count"), [((1, 5), 1), ((4,), 1), ((1, 4, 1), 1), ((1, 4), 0), ((1, 4), -1)])
def test_a_search_that_makes_no_sense_is_refused(kind, shape, count):
    index = make_index(kind, 4)
    index.add(ids(1), units(1, 4))
    with pytest.raises(ValueError, match=r"queries must be|to find"):
        index.search(np.ones(shape, np.float32), count)


def test_the_callers_arrays_are_neither_changed_nor_kept(kind):
    index, vectors, queries, numbers = make_index(kind, 8), units(5, 8), units(3, 8, seed=1), np.arange(5)
    given = [vectors.copy(), queries.copy(), numbers.copy()]
    index.add(numbers, vectors)
    index.search(queries, 3)
    index.remove(ids(0))
    for array, before in zip([vectors, queries, numbers], given, strict=True):
        np.testing.assert_array_equal(array, before)
    vectors[:], numbers[:] = 0.0, 99
    oracle = {number: given[0][number].astype(float) for number in range(1, 5)}
    assert_agrees(index, oracle, queries, 4)


def test_arrays_of_any_layout_are_taken(kind):
    vectors, numbers = units(6, 8), np.arange(6)
    index = make_index(kind, 8)
    index.add(numbers[::2], np.asfortranarray(vectors[::2]))
    oracle = {number: vectors[number].astype(float) for number in (0, 2, 4)}
    assert_agrees(index, oracle, np.asfortranarray(vectors), 3)
    frozen = vectors.copy()
    frozen.flags.writeable = False
    index.add(numbers, frozen)
    assert_agrees(index, {n: v.astype(float) for n, v in enumerate(vectors)}, frozen, 3)


@pytest.mark.parametrize("size", [0, 1, 300])
def test_the_bytes_make_the_same_index_again(kind, size):
    vectors = units(max(size, 1), 12)[:size]
    index = make_index(kind, 12)
    index.add(np.arange(size) * 3, vectors)
    index.remove(ids(0))
    again = load_index(kind, index.to_bytes(), 12)
    oracle = {3 * number: vectors[number].astype(float) for number in range(1, size)}
    assert_agrees(again, oracle, units(5, 12, seed=1), 4)
    again.add(ids(1), units(1, 12, seed=2))  # it can go on from there
    again.remove(ids(3))
    oracle = {1: units(1, 12, seed=2)[0].astype(float)} | {n: v for n, v in oracle.items() if n != 3}
    assert_agrees(again, oracle, units(5, 12, seed=1), 4)


def test_bytes_of_another_dimension_are_refused(kind):
    index = make_index(kind, 12)
    index.add(ids(1, 2), units(2, 12))
    with pytest.raises(ValueError, match=r"multiple|dimension"):
        load_index(kind, index.to_bytes(), 13)


@pytest.mark.parametrize("content", [b"x", b"no index at all, but some text of a few dozen bytes"])
def test_bytes_that_are_no_index_are_refused(kind, content):
    with pytest.raises(ValueError, match=r"multiple|FAISS cannot read"):
        load_index(kind, content, 4)


def test_an_index_of_another_engine_is_refused_by_faiss():
    pytest.importorskip("faiss", reason="FAISS is an extra (speakerdb[cpu])")
    index = make_index("numpy", 4)
    index.add(ids(1), units(1, 4))
    with pytest.raises(ValueError, match="FAISS cannot read"):
        load_index("faiss-flat", index.to_bytes(), 4)


def test_an_unknown_kind_is_refused_by_name():
    for make in (lambda: make_index("hnsw", 4), lambda: load_index("hnsw", b"", 4), lambda: resolve("hnsw")):
        with pytest.raises(InputError, match="'hnsw'; known: auto, faiss-flat, faiss-ivf, numpy"):
            make()
    assert resolve("auto") in KINDS
    assert resolve("auto") != "auto"


class AgainstADict(RuleBasedStateMachine):
    """Any order of adding, replacing, removing and storing; the dict says what must be found."""

    kind = "numpy"
    # Few directions and few ids, so that ties and replacements are common.
    DIRECTIONS = normalize([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1], [-1, 0, 0], [3, 2, 1]])
    numbers = st.lists(st.integers(1, 12), unique=True, max_size=8)

    def __init__(self) -> None:
        super().__init__()
        self.index = make_index(self.kind, 3)
        self.oracle: Oracle = {}

    @rule(numbers=numbers, first=st.integers(0, len(DIRECTIONS) - 1))
    def add(self, numbers: list[int], first: int) -> None:
        rows = self.DIRECTIONS[[(first + step) % len(self.DIRECTIONS) for step in range(len(numbers))]]
        self.index.add(np.array(numbers, np.int64), rows)
        self.oracle |= dict(zip(numbers, rows.astype(float), strict=True))

    @rule(numbers=numbers)
    def remove(self, numbers: list[int]) -> None:
        known = [number for number in numbers if self.oracle.pop(number, None) is not None]
        assert self.index.remove(np.array(numbers, np.int64)) == len(known)

    @rule()
    def store_and_load(self) -> None:
        self.index = load_index(self.kind, self.index.to_bytes(), 3)

    @invariant()
    def finds_what_the_dict_says(self) -> None:
        for count in (1, 4, 13):
            assert_agrees(self.index, self.oracle, self.DIRECTIONS, count)


class FaissAgainstADict(AgainstADict):
    kind = "faiss-flat"


STEPS = settings(
    max_examples=40,
    stateful_step_count=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestNumpyAgainstADict = AgainstADict.TestCase
TestNumpyAgainstADict.settings = STEPS
TestFaissAgainstADict = FaissAgainstADict.TestCase
TestFaissAgainstADict.settings = STEPS


def test_one_voice_is_searched_and_added_on_the_callers_thread_and_several_on_all(kind, monkeypatch):
    if kind == "numpy":
        pytest.skip("NumPy has no threads to wake")
    import faiss

    monkeypatch.setattr(faiss, "omp_get_max_threads", lambda: given[-1])
    monkeypatch.setattr(faiss, "omp_set_num_threads", lambda threads: given.append(threads))
    index, given, at_call = make_index(kind, 4), [3], []
    for name in ("search", "add_with_ids"):
        call = getattr(index._index, name)
        setattr(index._index, name, lambda *asked, call=call, **how: at_call.append(given[-1]) or call(*asked, **how))
    index.add(ids(1), units(1, 4))
    index.add(ids(2, 3), units(2, 4))
    index.search(units(1, 4), 1)
    index.search(units(2, 4), 1)
    assert (at_call, given[-1]) == ([1, 3, 1, 3], 3)
