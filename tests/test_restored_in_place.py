"""A database that is restored in place, under an open gallery, goes on as another history of the same gallery."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from known_voices import voice

from speakerdb import Gallery
from speakerdb.store import voiceprints
from speakerdb.store.database import FILE

FIRST = ["ana", "ben", "eva"]


def opened(folder: Path, encoder) -> Gallery:
    return Gallery.open(folder, encoder=encoder, index="numpy")


def enroll(folder: Path, encoder, names: list[str]) -> None:
    """By another gallery, as another process does."""
    with opened(folder, encoder) as gallery:
        for name in names:
            gallery.enroll(name, [f"{name} 0"])


@pytest.fixture
def restore(tmp_path: Path) -> Callable[[], None]:
    """Writes what a copy of the database holds into the file of the gallery, by SQLite itself."""

    def write() -> None:
        with (
            contextlib.closing(sqlite3.connect(tmp_path / "copy" / FILE)) as copy,
            contextlib.closing(sqlite3.connect(tmp_path / "people" / FILE)) as target,
        ):
            copy.backup(target)

    return write


@pytest.fixture
def people(tmp_path: Path, known_voices) -> Iterator[Gallery]:
    """The first three, and a copy of them; later ones in the gallery and its index alone."""
    enroll(tmp_path / "people", known_voices, FIRST)
    with opened(tmp_path / "people", known_voices) as gallery:
        gallery.backup(tmp_path / "copy")
        for name in ("lost 1", "lost 2"):
            gallery.enroll(name, [f"{name} 0"])
        assert nearest(gallery, "lost 2") == "lost 2"
        yield gallery


def nearest(gallery: Gallery, name: str) -> str:
    return gallery.nearest(voice(f"{name} 0"), top=1)[0].speaker


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_whoever_comes_after_a_restoring_is_found_by_a_gallery_that_was_open(people, restore, known_voices, count):
    new = [f"new {number}" for number in range(count)]
    restore()
    enroll(people.folder, known_voices, new)
    assert [nearest(people, name) for name in [*FIRST, *new]] == [*FIRST, *new]
    assert people.check().findings == []


def test_a_recording_that_somebody_gets_after_a_restoring_counts(people, restore, known_voices):
    restore()
    with opened(people.folder, known_voices) as other:
        other.enroll("ana", ["ana 1"])
        for name in ("new 1", "new 2"):
            other.enroll(name, [f"{name} 0"])
        expected = other.nearest(voice("ana 1"), top=1)
    assert people.nearest(voice("ana 1"), top=1) == expected
    assert people.check().findings == []


def test_a_removal_after_a_restoring_holds(people, restore, known_voices):
    restore()
    with opened(people.folder, known_voices) as other:
        other.remove("ben")
        for name in ("new 1", "new 2"):
            other.enroll(name, [f"{name} 0"])
    assert "ben" not in [near.speaker for near in people.nearest(voice("ben 0"), top=10)]
    assert people.check().findings == []


def test_without_a_restoring_nothing_is_read_anew(people, known_voices, monkeypatch):
    def read_everything(connection):
        raise AssertionError("the change log was enough")

    monkeypatch.setattr(voiceprints, "in_batches", read_everything)
    enroll(people.folder, known_voices, ["new 1", "lost 1 too"])
    assert nearest(people, "new 1") == "new 1"
    for change in (
        lambda other: other.enroll("lost 2", ["lost 2 1"]),
        lambda other: other.remove("lost 1"),
        lambda other: other.rename("new 1", "newer"),
        lambda other: other.merge("newer", "ana"),
    ):
        with opened(people.folder, known_voices) as other:
            change(other)
        assert nearest(people, "ben") == "ben"
    assert people.check().findings == []
