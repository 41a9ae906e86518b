"""Who waits for whom: a search for nobody who removes, checks or rebuilds, a removal for writers alone."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from galleries import left_in, many_people, pieces
from known_voices import voice
from twelve_people import stored, voiceprint

from speakerdb import Gallery, settings
from speakerdb.durable import take_lock
from speakerdb.errors import NoSuchEnrollment, NoSuchSpeaker
from speakerdb.gallery import building, doctor
from speakerdb.index import snapshot
from speakerdb.store import voiceprints
from speakerdb.store.database import FILE

pytestmark = pytest.mark.timeout(120)
SOON_S = 3.0
"""Much less than anybody is waited for."""


@pytest.fixture
def gallery(twelve: Path, known_voices) -> Iterator[Gallery]:
    """The twelve, open, with an index in memory and a snapshot of it on disk."""
    with Gallery.open(twelve, encoder=known_voices, index="numpy") as opened:
        assert nearest(opened, "person a") == "person a"
        yield opened


@pytest.fixture
def writer(twelve: Path) -> Iterator[sqlite3.Connection]:
    """Another program in the middle of writing."""
    with contextlib.closing(sqlite3.connect(twelve / FILE, check_same_thread=False)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def nearest(gallery: Gallery, name: str) -> str:
    return gallery.nearest(voiceprint(name).astype("float32"), top=1)[0].speaker


@contextlib.contextmanager
def beside(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """In a thread that has ended well at the end of the block."""
    done = []
    thread = threading.Thread(target=lambda: done.append(work()))
    thread.start()
    yield thread
    thread.join(60)
    assert len(done) == 1


@contextlib.contextmanager
def child_made_while(work: Callable[[], object], go_on: Callable[[], object]) -> Iterator[None]:
    """A fork of this process that was made while the work waited, and that lives until the block ends."""
    with beside(work):
        time.sleep(0.5)  # it waits by now
        threading.Timer(0.5, go_on).start()
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def seconds(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def test_a_removal_that_waits_for_a_writer_holds_up_no_search(gallery, writer):
    with beside(lambda: gallery.remove("person a")) as removal:
        time.sleep(0.3)
        assert seconds(lambda: nearest(gallery, "person b")) < SOON_S
        assert removal.is_alive()
        writer.rollback()
    assert nearest(gallery, "person a") != "person a"


def held_up(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> tuple[threading.Event, threading.Event]:
    """A function stops when it is done: an event that tells so, and one that lets it go on."""
    stopped, go_on, real = threading.Event(), threading.Event(), getattr(owner, name)

    def slow(*arguments):
        result = real(*arguments)
        stopped.set()
        assert go_on.wait(60)
        return result

    monkeypatch.setattr(owner, name, slow)
    return stopped, go_on


def assert_answers_during(gallery: Gallery, work: Callable[[], object], events: tuple[threading.Event, ...]) -> None:
    stopped, go_on = events
    with beside(work) as working:
        try:
            assert stopped.wait(30)
            assert seconds(lambda: gallery.nearest(voice("anybody"), top=1)) < SOON_S
            assert working.is_alive()
        finally:
            go_on.set()


def test_whoever_is_removed_elsewhere_while_the_index_is_made_anew_is_in_no_file(
    gallery, twelve, known_voices, monkeypatch
):
    monkeypatch.setattr(settings, "BUSY_TIMEOUT_S", 0.5)
    filled, go_on = held_up(monkeypatch, building, "fill")
    secrets = pieces(stored(voiceprint("person d")), stored(voice("d0")))
    with beside(gallery.rebuild):
        assert filled.wait(30)
        with Gallery.open(twelve, encoder=known_voices, index="numpy") as other:
            assert other.remove("person d").log_erased
        go_on.set()
    assert (twelve / "index" / snapshot.FILE).exists()
    assert left_in(twelve, secrets) == []
    assert nearest(gallery, "person d") != "person d"


def test_the_index_that_is_there_answers_while_another_is_made_anew(gallery, monkeypatch):
    assert_answers_during(gallery, gallery.rebuild, held_up(monkeypatch, building, "fill"))
    assert nearest(gallery, "person b") == "person b"


def test_a_gallery_answers_while_it_is_checked(gallery, monkeypatch):
    assert_answers_during(gallery, gallery.check, held_up(monkeypatch, voiceprints, "parts"))


def test_a_gallery_answers_while_its_profiles_are_examined(gallery_folder, monkeypatch):
    with many_people(gallery_folder, 12) as gallery:
        assert_answers_during(gallery, gallery.doctor, held_up(monkeypatch, doctor, "ranked"))


def test_an_index_that_was_made_anew_beside_a_writer_is_saved(gallery, twelve, writer):
    threading.Timer(0.5, writer.rollback).start()
    gallery.rebuild()
    assert (twelve / "index" / snapshot.FILE).exists()


def test_an_index_that_waits_for_a_writer_to_be_saved_holds_up_no_search(gallery, twelve, writer):
    with beside(gallery.rebuild) as rebuilding:
        time.sleep(0.5)
        assert seconds(lambda: nearest(gallery, "person b")) < SOON_S
        assert rebuilding.is_alive()
        assert not (twelve / "index" / snapshot.FILE).exists()
        writer.rollback()
    assert (twelve / "index" / snapshot.FILE).exists()


def test_whoever_comes_while_an_index_is_saved_is_found_and_the_next_to_close_saves_it(gallery, twelve, monkeypatch):
    saved, go_on = held_up(monkeypatch, snapshot, "save")
    with beside(gallery.rebuild):
        assert saved.wait(30)
        gallery.enroll("new", ["new 1"])
        assert gallery.nearest(voice("new 1"), top=1)[0].speaker == "new"
        go_on.set()
    before = (twelve / "index" / snapshot.FILE).read_bytes()
    gallery.close()
    assert (twelve / "index" / snapshot.FILE).read_bytes() != before


@pytest.mark.parametrize(
    "order",
    [
        lambda gallery: gallery.remove("nobody"),
        lambda gallery: gallery.remove_enrollment(999),
        lambda gallery: gallery.merge("nobody", "person a"),
        lambda gallery: gallery.move_enrollments([999], "person a"),
    ],
)
def test_who_is_not_there_to_be_removed_costs_no_snapshot(gallery, twelve, order):
    before = (twelve / "index" / snapshot.FILE).read_bytes()
    with pytest.raises((NoSuchSpeaker, NoSuchEnrollment)):
        order(gallery)
    assert (twelve / "index" / snapshot.FILE).read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_made_while_an_index_is_saved_holds_up_no_later_removal(gallery, twelve, writer, monkeypatch):
    with child_made_while(gallery.rebuild, writer.rollback):
        monkeypatch.setattr(settings, "BUSY_TIMEOUT_S", 0.5)
        assert gallery.remove("person b").speaker_removed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_made_during_a_removal_holds_up_no_later_one(gallery, twelve, monkeypatch):
    held = os.open(twelve / "index" / snapshot.LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
    assert take_lock(held)
    with child_made_while(lambda: gallery.remove("person a"), lambda: os.close(held)):
        monkeypatch.setattr(settings, "BUSY_TIMEOUT_S", 0.5)
        assert gallery.remove("person b").speaker_removed
