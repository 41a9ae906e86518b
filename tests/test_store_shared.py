"""Several processes and connections at one SQLite file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from known_voices import DIMENSION, voice
from sqlalchemy import text
from twelve_people import COUNTS, PEOPLE, rows, stored

from speakerdb import Gallery, settings
from speakerdb.embedding import distances, normalize
from speakerdb.errors import GalleryDamaged, GalleryFull, GalleryLocked, NoSuchGallery
from speakerdb.store import binding, gallery_file, records, upgrade, voiceprints
from speakerdb.store.binding import EncoderIdentity
from speakerdb.store.database import FILE
from speakerdb.store.records import NewEnrollment

WORKER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from speakerdb import Encoder, Gallery, SpeakerdbError
from known_voices import KnownVoices
encoder = KnownVoices(Encoder.load()._bundle)
print("ready", flush=True)
for line in sys.stdin:
    folder, verb, *arguments = json.loads(line)
    try:
        with Gallery.open(folder, encoder=encoder, index="numpy") as gallery:
            result = getattr(gallery, verb)(*arguments).to_json()
    except SpeakerdbError as error:
        result = error.to_json()
    print(json.dumps(result), flush=True)
"""


class Worker:
    """Another process that does to galleries what it is told."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", WORKER, str(Path(__file__).parent)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, *order: object) -> None:
        print(json.dumps([str(order[0]), *order[1:]]), file=self.process.stdin, flush=True)

    def answer(self) -> dict:
        return json.loads(self.process.stdout.readline())

    def do(self, *order: object) -> dict:
        self.tell(*order)
        return self.answer()


@pytest.fixture(scope="module")
def workers() -> Iterator[list[Worker]]:
    with contextlib.ExitStack() as stack:
        made = [Worker() for _ in range(3)]
        for worker in made:
            stack.enter_context(worker.process)
            stack.callback(worker.process.kill)
        for worker in made:
            assert worker.process.stdout.readline() == "ready\n"
        yield made


def test_several_processes_can_make_the_same_gallery_at_once(workers, tmp_path, known_voices):
    for attempt in range(12):
        folder = tmp_path / f"people {attempt}"
        for number, worker in enumerate(workers):
            worker.tell(folder, "enroll", f"person {number}", [f"voice {number}"])
        answers = [worker.answer() for worker in workers]
        assert [answer.get("total") for answer in answers] == [1] * len(workers), answers
        with Gallery.open(folder, encoder=known_voices) as gallery:
            assert [entry.speaker for entry in gallery.speakers()] == ["person 0", "person 1", "person 2"]
            assert gallery.check().findings == []
        assert rows(folder / FILE, "SELECT count(*) FROM gallery") == [(1,)]


def test_what_another_process_commits_is_found_without_reading_everything_anew(
    workers, twelve, known_voices, monkeypatch
):
    worker = workers[0]
    with Gallery.open(twelve, encoder=known_voices, index="numpy") as gallery:
        assert gallery.identify("new 1").speaker is None

        def read_everything(connection):
            raise AssertionError("the change log was enough")

        monkeypatch.setattr(voiceprints, "in_batches", read_everything)
        assert worker.do(twelve, "enroll", "new", ["new 1"])["total"] == 1
        assert gallery.identify("new 1").speaker == "new"
        assert worker.do(twelve, "enroll", "person a", ["a9"])["total"] == 2
        both = normalize(voice("a0").astype(float) + voice("a9"))
        distance = gallery.identify("a9").distance
        assert distance == pytest.approx(distances(voice("a9"), both[None])[0], abs=1e-6)
        assert worker.do(twelve, "rename", "new", "newer")["after"] == "newer"
        assert gallery.identify("new 1").speaker == "newer"
        assert worker.do(twelve, "remove", "newer")["log_erased"]
        found = gallery.identify("new 1", top=50)
        assert found.speaker is None
        assert {candidate.speaker for candidate in found.candidates} == set(PEOPLE)


def test_a_gallery_that_another_process_makes_is_found(workers, tmp_path, known_voices):
    with Gallery.open(tmp_path / "people", encoder=known_voices) as gallery:
        with pytest.raises(NoSuchGallery):
            gallery.identify("ana 1")
        workers[0].do(tmp_path / "people", "enroll", "ana", ["ana 1"])
        assert gallery.identify("ana 1").speaker == "ana"


@pytest.fixture
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(settings, "BUSY_TIMEOUT_S", 0.2)


def test_a_gallery_that_is_locked_can_be_read_and_says_so_to_writers(twelve, known_voices, impatient):
    with (
        contextlib.closing(sqlite3.connect(twelve / FILE)) as other,
        Gallery.open(twelve, encoder=known_voices) as gallery,
    ):
        other.execute("BEGIN IMMEDIATE")
        for write in (
            lambda: gallery.enroll("new", "new 1"),
            lambda: gallery.rename("person a", "new"),
            lambda: gallery.remove("person a"),
            lambda: gallery.remove_enrollment(1),
            lambda: upgrade.run_migrations(gallery._database),
        ):
            with pytest.raises(GalleryLocked, match=r"is locked by another process \(waited 0\.2 s\)"):
                write()
        assert gallery.identify("a0").speaker == "person a"
        other.rollback()
        assert gallery.enroll("new", "new 1").total == 1


def test_a_removal_that_a_reader_holds_up_says_so_and_check_finishes_it(twelve, known_voices, impatient):
    removed = stored(voice("d0"))
    with (
        contextlib.closing(sqlite3.connect(twelve / FILE)) as other,
        Gallery.open(twelve, encoder=known_voices) as gallery,
    ):
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM speaker").fetchone() == (len(PEOPLE),)
        assert not gallery.remove("person d").log_erased
        assert other.execute("SELECT count(*) FROM speaker").fetchone() == (len(PEOPLE),)
        other.rollback()
        assert gallery.check().findings == []
        assert not [path for path in twelve.rglob("*") if path.is_file() and removed in path.read_bytes()]


def test_a_database_above_the_limit_is_not_written_anew(twelve, known_voices, monkeypatch):
    monkeypatch.setattr(settings, "REWRITE_BELOW_BYTES", 0)
    size = (twelve / FILE).stat().st_size
    with Gallery.open(twelve, encoder=known_voices) as gallery:
        assert gallery.remove("person d").log_erased
        assert (twelve / FILE).stat().st_size == size
        monkeypatch.undo()
        gallery.remove("person e")
        assert (twelve / FILE).stat().st_size < size


def test_a_database_that_may_not_grow_is_full_and_unchanged(twelve):
    store = gallery_file.open_existing(twelve / FILE)
    before = rows(twelve / FILE, COUNTS)
    with (
        pytest.raises(GalleryFull, match=r"no space left for .*; what was under way was not written"),
        store.writing() as connection,
    ):
        connection.execute(text("PRAGMA max_page_count = 1"))
        for number in range(200):
            speaker = records.add_speaker(connection, f"new {number}")
            new = NewEnrollment("new", f"{number:064x}", 2.0, {}, voice("new"))
            records.add_enrollment(connection, speaker, new)
    assert rows(twelve / FILE, COUNTS) == before
    store.close()


def test_a_gallery_is_bound_once(twelve):
    store = gallery_file.open_existing(twelve / FILE)
    with pytest.raises(GalleryDamaged, match="UNIQUE"), store.writing() as connection:
        binding.bind(connection, EncoderIdentity("other", "1", "0" * 64, DIMENSION))
    store.close()
