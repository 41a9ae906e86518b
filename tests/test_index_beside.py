"""An index that is made beside a gallery in use: nobody waits for it, and nothing that happens meanwhile is lost."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from known_voices import KnownVoices, voice
from test_many_processes import forked

from speakerdb import Encoder, Gallery
from speakerdb.gallery import building
from speakerdb.index import engine
from speakerdb.store import voiceprints

pytest.importorskip("faiss", reason="FAISS is an extra (speakerdb[cpu])")

from test_inverted_file import names, voices, write

from speakerdb.index import inverted_file
from speakerdb.index.inverted_file import InvertedFile

pytestmark = pytest.mark.timeout(120)
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture(scope="module")
def encoder() -> KnownVoices:
    return KnownVoices(Encoder.load()._bundle)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return voices(3000)


@pytest.fixture
def outgrown(tmp_path: Path, vectors, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery whose scan is to become lists, in batches of 500 voices."""
    monkeypatch.setattr(engine, "EXACT_UP_TO", 1500)
    monkeypatch.setattr(voiceprints, "BATCH_ROWS", 500)
    write(tmp_path / "people", vectors[:1400])
    return tmp_path / "people"


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Lists stop at their second batch: an event that tells so, and one that lets them go on."""
    stopped, go_on, add = threading.Event(), threading.Event(), InvertedFile.add

    def slow(index, ids, vectors):
        if ids[0] > 500 and not go_on.is_set():
            stopped.set()
            assert go_on.wait(60)
        add(index, ids, vectors)

    monkeypatch.setattr(InvertedFile, "add", slow)
    return stopped, go_on


def grown(folder: Path, encoder: KnownVoices, vectors: np.ndarray) -> Gallery:
    """The gallery, open, with a scan that answers and lists that are under way."""
    gallery = Gallery.open(folder, encoder=encoder)
    assert names(gallery, vectors[:1]) == ["speaker 1"]
    write(folder, vectors[1400:])
    assert names(gallery, vectors[-1:]) == ["speaker 3000"]
    return gallery


def seconds(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


@forks
def test_a_fork_waits_for_no_index_that_is_being_filled(outgrown, encoder, vectors, held_up):
    stopped, go_on = held_up
    with grown(outgrown, encoder, vectors) as gallery:
        assert stopped.wait(30)
        late = threading.Timer(20, go_on.set)
        late.start()
        assert seconds(lambda: forked(lambda: None)) < 10
        late.cancel()
        go_on.set()
        assert names(gallery, vectors[:1]) == ["speaker 1"]


def test_what_changes_while_an_index_is_filled_is_in_it(outgrown, encoder, vectors, held_up):
    stopped, go_on = held_up
    with grown(outgrown, encoder, vectors) as gallery:
        assert stopped.wait(30)
        assert gallery.remove("speaker 7").log_erased  # whom the index has, and nobody reads for it now
        gallery.remove("speaker 2000")
        gallery.enroll("new", ["new 1"])
        go_on.set()
        gallery._view._successor.wait(30)
        assert names(gallery, [voice("new 1"), vectors[8]]) == ["new", "speaker 9"]
        assert gallery._view._index.kind == "faiss-ivf"
        gone = [near.speaker for row in (6, 1999) for near in gallery.nearest(vectors[row], top=10)]
        assert not {"speaker 7", "speaker 2000"} & {*gone}
        assert gallery.check().findings == []


@forks
def test_an_index_that_was_under_way_at_a_fork_is_begun_again_in_the_child(outgrown, encoder, vectors, held_up):
    stopped, go_on = held_up
    with grown(outgrown, encoder, vectors) as gallery:
        assert stopped.wait(30)

        def work() -> None:
            go_on.set()
            assert names(gallery, vectors[:1]) == ["speaker 1"]
            gallery._view._successor.wait(60)
            assert names(gallery, vectors[:1]) == ["speaker 1"]
            assert gallery._view._index.kind == "faiss-ivf"

        assert forked(work) == 0
        go_on.set()


def test_an_index_that_could_not_be_made_is_tried_again_later_and_not_at_once(outgrown, encoder, vectors, monkeypatch):
    tried = []

    def fails(sample, size):
        tried.append(size)
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(inverted_file, "trained", fails)
        gallery = grown(outgrown, encoder, vectors)
        gallery._view._successor.wait(30)
        assert names(gallery, vectors[:2]) == ["speaker 1", "speaker 2"]
        assert tried == [3000]
    with gallery:
        monkeypatch.setattr(building, "AGAIN_S", 0.0)
        assert names(gallery, vectors[:1]) == ["speaker 1"]
        gallery._view._successor.wait(30)
        assert names(gallery, vectors[:1]) == ["speaker 1"]
        assert gallery._view._index.kind == "faiss-ivf"
