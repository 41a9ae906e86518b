"""An index on disk: believed only where everything agrees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from snapshots import DIMENSION, binding_of, filled, load, own, save, save_as_own

from speakerdb.embedding import normalize
from speakerdb.index import snapshot
from speakerdb.index.snapshot import FILE, LOCK, PARTIAL


def sealed(content: bytes, **fields: Any) -> bytes:
    """A file whose checksum agrees, whatever it says."""
    digest = snapshot._digest(fields, content)
    return json.dumps({**fields, "sha256": digest}).encode() + b"\n" + content


def test_what_was_saved_is_loaded_with_its_generation(folder, kind):
    assert save(folder, kind)
    index, generation = snapshot.load(folder, binding_of(kind), own(folder))
    assert (generation, index.kind, index.dimension) == (7, kind, DIMENSION)
    queries = normalize(np.random.default_rng(9).normal(size=(6, DIMENSION)))
    for found, expected in zip(index.search(queries, 5), filled(kind).search(queries, 5), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert sorted(path.name for path in folder.iterdir()) == [LOCK, FILE]


def test_a_later_snapshot_takes_the_place_of_the_earlier(folder, kind):
    assert save(folder, kind, generation=7, people=5)
    assert save(folder, kind, generation=9, people=3)
    assert load(folder, kind) == (3, 9)


def test_an_empty_index_is_a_snapshot_too(folder, kind):
    assert save(folder, kind, people=0)
    assert load(folder, kind) == (0, 7)


def test_without_a_snapshot_there_is_none(folder, kind):
    assert load(folder, kind) is None
    folder.mkdir()
    assert load(folder, kind) is None


def test_a_snapshot_cut_at_any_length_is_not_believed(folder, kind):
    save(folder, kind)
    whole = (folder / FILE).read_bytes()
    for length in range(len(whole)):
        (folder / FILE).write_bytes(whole[:length])
        assert load(folder, kind) is None, length
    (folder / FILE).write_bytes(whole)
    assert load(folder, kind) == (5, 7)


def test_a_snapshot_with_one_flipped_bit_is_not_believed(folder, kind):
    save(folder, kind)
    whole = (folder / FILE).read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        (folder / FILE).write_bytes(flipped)
        assert load(folder, kind) is None, position


@pytest.mark.parametrize("more", [b"\0", b"\n", b"x" * 1000])
def test_a_snapshot_that_goes_on_after_its_end_is_not_believed(folder, kind, more):
    save(folder, kind)
    with (folder / FILE).open("ab") as file:
        file.write(more)
    assert load(folder, kind) is None


@pytest.mark.parametrize(
    "changes",
    [{"gallery_uuid": "cd" * 16}, {"encoder_sha256": "1" * 64}, {"dimension": 8}],
    ids=["another gallery's", "another encoder's", "another dimension"],
)
def test_a_snapshot_of_something_else_is_not_believed(folder, kind, changes):
    save(folder, kind)
    assert snapshot.load(folder, binding_of(kind, **changes), own(folder)) is None


def test_a_snapshot_of_another_engine_is_not_believed(folder):
    pytest.importorskip("faiss", reason="FAISS is an extra (speakerdb[cpu])")
    for mine, other in (("numpy", "faiss-flat"), ("faiss-flat", "numpy")):
        save(folder, mine)
        assert load(folder, mine) == (5, 7)
        assert load(folder, other) is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n", id="an empty line"),
        pytest.param(b"{}\n", id="an empty object"),
        pytest.param(b"[1]\n", id="a list"),
        pytest.param(b"null\n", id="null"),
        pytest.param(b"\xff\xfe\n", id="no text"),
        pytest.param(b"[" * 4000 + b"\n", id="thousands of brackets"),
        pytest.param(b"9" * 4090 + b"\n", id="a number of thousands of digits"),
        pytest.param(b"a" * 1_000_000, id="a line without end"),
        pytest.param(np.random.default_rng(0).bytes(4096), id="noise"),
    ],
)
def test_a_file_that_is_no_snapshot_is_not_believed(folder, kind, content):
    folder.mkdir()
    (folder / FILE).write_bytes(content)
    assert load(folder, kind) is None
    snapshot.drop_foreign(folder, lambda: 3)
    assert save(folder, kind)
    assert load(folder, kind) == (5, 7)


@pytest.mark.parametrize(
    "lie",
    [
        {"format": "speakerdb-index/2"},
        {"number": 4},
        {"number": "0"},
        {"format": None},
        {"count": 4},
        {"count": "5"},
        {"generation": "soon"},
        {"generation": None},
        {"generation": float("inf")},
        {"generation": float("nan")},
        {"generation": [7]},
        {"kind": "hnsw"},
    ],
    ids=repr,
)
def test_a_header_that_lies_under_a_true_checksum_is_not_believed(folder, kind, lie):
    index = filled(kind)
    fields = vars(binding_of(kind)) | {"format": snapshot.FORMAT, "generation": 7, "count": 5, "number": 0}
    folder.mkdir()
    (folder / FILE).write_bytes(sealed(index.to_bytes(), **fields))
    assert load(folder, kind) == (5, 7)
    (folder / FILE).write_bytes(sealed(index.to_bytes(), **(fields | lie)))
    assert load(folder, kind) is None
    snapshot.drop_foreign(folder, lambda: 3)


def test_bytes_that_are_no_index_under_a_true_checksum_are_not_believed(folder, kind):
    fields = vars(binding_of(kind)) | {"format": snapshot.FORMAT, "generation": 7, "count": 5, "number": 0}
    folder.mkdir()
    for content in (b"", b"no index", np.random.default_rng(0).bytes(200)):
        (folder / FILE).write_bytes(sealed(content, **fields))
        assert load(folder, kind) is None


def test_a_folder_in_the_files_place_is_not_believed_and_cannot_be_replaced(folder, kind):
    (folder / FILE).mkdir(parents=True)
    assert load(folder, kind) is None
    with pytest.raises(OSError, match=r"(?i)director"):
        save(folder, kind)
    assert not (folder / PARTIAL).exists()


def test_a_file_in_the_folders_place_is_not_believed(folder, kind):
    folder.write_bytes(b"no folder")
    assert load(folder, kind) is None
    with pytest.raises(FileExistsError):
        save(folder, kind)


def test_a_gallery_that_has_moved_on_gets_no_snapshot(folder, kind):
    assert not save_as_own(folder, filled(kind), binding_of(kind), 7, lambda: 8)
    assert [path.name for path in folder.iterdir()] == [LOCK]
    save(folder, kind, generation=6, people=2)
    assert not save_as_own(folder, filled(kind), binding_of(kind), 7, lambda: 8)
    assert load(folder, kind) == (2, 6)


def test_a_snapshot_that_is_not_the_gallerys_own_is_not_believed_and_dropped(folder, kind):
    snapshot.drop_foreign(folder, lambda: own(folder))
    assert not folder.exists()
    save(folder, kind)
    snapshot.drop_foreign(folder, lambda: own(folder))
    assert load(folder, kind) == (5, 7)
    other = own(folder) ^ 1
    assert snapshot.load(folder, binding_of(kind), other) is None
    snapshot.drop_foreign(folder, lambda: other)
    assert not (folder / FILE).exists()


def test_a_snapshot_that_becomes_the_gallerys_own_meanwhile_is_not_dropped(folder, kind):
    save(folder, kind)
    numbers = iter([0, own(folder)])
    snapshot.drop_foreign(folder, lambda: next(numbers))
    assert load(folder, kind) == (5, 7)


@pytest.mark.parametrize("begun", [False, True])
def test_where_the_number_cannot_be_kept_there_is_the_old_snapshot_or_none(folder, kind, begun):
    @contextmanager
    def refused(number: int) -> Iterator[None]:
        if begun:
            yield
        raise KeyError(number)

    save(folder, kind, generation=6, people=2)
    with pytest.raises(KeyError):
        snapshot.save(folder, snapshot.taken(filled(kind), binding_of(kind), 7), lambda: 7, refused)
    assert load(folder, kind) == (None if begun else (2, 6))
    assert sorted(path.name for path in folder.iterdir()) == ([LOCK] if begun else [LOCK, FILE])


def test_a_file_without_a_header_is_dropped(folder):
    folder.mkdir()
    (folder / FILE).write_bytes(b"voices, perhaps")
    snapshot.drop_foreign(folder, lambda: 3)
    assert not (folder / FILE).exists()
