"""The SQLite file: how it is opened, and what is no gallery of this program."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys

import pytest
from sqlalchemy import event, text
from twelve_people import PEOPLE, change, posix, rows

from speakerdb import Gallery
from speakerdb.errors import EmptyGallery, GalleryDamaged, GalleryTooNew, NoSuchGallery
from speakerdb.store import gallery_file, records, upgrade, voiceprints
from speakerdb.store.database import FILE
from speakerdb.store.driver import MANY, driver


@pytest.mark.parametrize("opened", [gallery_file.create, gallery_file.open_existing])
def test_every_connection_is_durable_keeps_foreign_keys_deletes_for_good_and_writes_nowhere_else(opened, twelve):
    store = opened(twelve / FILE)
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(store.reading()) for _ in range(6)]  # more than the pool keeps
        for connection in sessions:
            pragmas = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "temp_store")
            values = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in pragmas]
            assert values == ["wal", 2, 1, 1, 2]
    with store.migrating() as connection:
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 0
    with store.writing() as connection:
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    store.close()


@posix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_may_read_whatever_the_umask(tmp_path, known_voices, umask):
    before = os.umask(umask)
    try:
        with Gallery.open(tmp_path / "not" / "yet" / "people", encoder=known_voices) as gallery:
            gallery.enroll("ana", "ana 1")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in gallery.folder.iterdir()}
            assert modes == {FILE: 0o600, f"{FILE}-wal": 0o600, f"{FILE}-shm": 0o600}
            gallery.identify("ana 1")
        assert gallery.folder.stat().st_mode & 0o777 == 0o700
        files = [path for path in gallery.folder.rglob("*") if path.is_file()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert gallery.folder.parent.stat().st_mode & 0o777 == 0o755 & ~umask  # others may look there, not write
    finally:
        os.umask(before)


def test_alembic_is_not_imported_where_nothing_is_upgraded(twelve):
    script = """
import sys
from speakerdb import Gallery
with Gallery.open(sys.argv[1], index="numpy") as gallery:
    gallery.speakers()
    gallery.rename("person a", "person z")
    gallery.remove("person z")
    gallery.check()
print(sorted(name for name in sys.modules if name.split(".")[0] in ("alembic", "faiss", "mako")))
"""
    done = subprocess.run([sys.executable, "-c", script, twelve], check=True, capture_output=True, timeout=120)
    assert done.stdout.strip() == b"[]"


def test_a_session_that_raises_leaves_nothing_behind(twelve):
    store = gallery_file.open_existing(twelve / FILE)
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), store.writing() as connection:
            records.add_speaker(connection, "nobody")
            raise error
    with store.reading() as connection:
        assert records.speaker_id(connection, "nobody") is None
    store.close()


def test_an_interruption_within_a_statement_is_an_interruption(twelve):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    store = gallery_file.open_existing(twelve / FILE)
    with pytest.raises(KeyboardInterrupt), store.reading() as connection:
        event.listen(connection, "after_cursor_execute", interrupt)
        connection.execute(text("SELECT id FROM speaker"))
    with store.reading() as connection:
        assert records.anybody(connection)
    store.close()


def test_a_long_session_forgets_the_cursors_that_are_gone(twelve):
    store = gallery_file.open_existing(twelve / FILE)
    with store.reading() as connection:
        left = connection.execute(text("SELECT id FROM speaker").execution_options(yield_per=1))
        for _ in range(3 * MANY):
            driver(connection).execute("SELECT 1").fetchone()
        assert len(driver(connection)._cursors) <= MANY
        assert len(left.all()) == len(PEOPLE)
    store.close()


def test_more_ids_than_sqlite_takes_in_one_statement_are_looked_up(twelve):
    store = gallery_file.open_existing(twelve / FILE)
    ids = list(range(1, 20_001))
    with store.reading() as connection:
        raw = connection.connection.driver_connection
        raw.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 5000)
        assert len(records.names_of(connection, ids)) == len(voiceprints.of_speakers(connection, ids)) == len(PEOPLE)
    store.close()


# What is no gallery of this program's


@pytest.mark.parametrize("content", [b"no database " * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_damaged(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(GalleryDamaged, match=r"is damaged \(.*\); put a backup in the place"):
        Gallery.open(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


@pytest.mark.parametrize("statement", ["CREATE TABLE speaker (id)", "CREATE TABLE alembic_version (version_num)"])
def test_a_database_of_another_program_is_no_gallery_and_stays_as_it_is(tmp_path, statement):
    change(tmp_path / FILE, statement)
    with pytest.raises(GalleryDamaged, match="not a gallery: its tables are missing"):
        Gallery.open(tmp_path)
    with pytest.raises(GalleryDamaged, match="not a gallery"):
        upgrade.upgrade(tmp_path / FILE)
    assert rows(tmp_path / FILE, "SELECT count(*) FROM sqlite_master") == [(1,)]
    assert rows(tmp_path / FILE, "PRAGMA journal_mode") == [("delete",)]


def test_a_gallery_of_a_newer_program_is_not_touched(twelve):
    change(twelve / FILE, "UPDATE alembic_version SET version_num = '0042'")
    for use in (Gallery.open, lambda folder: upgrade.upgrade(folder / FILE)):
        with pytest.raises(GalleryTooNew, match=r"newer speakerdb \(schema 0042\); upgrade with"):
            use(twelve)
    assert rows(twelve / FILE, "SELECT count(*) FROM speaker") == [(len(PEOPLE),)]


@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_database_that_was_emptied_is_damaged_and_not_begun_anew(twelve, known_voices, size):
    with (twelve / FILE).open("r+b") as file:
        file.truncate(size)
    with pytest.raises(GalleryDamaged, match=r"tables are missing|malformed"):
        Gallery.open(twelve, encoder=known_voices)
    assert (twelve / FILE).stat().st_size == size


@posix
@pytest.mark.parametrize("step", ["file", "tables", "link"])
def test_a_gallery_whose_maker_is_killed_is_not_there_or_whole(tmp_path, known_voices, step):
    script = """
import os, signal, sys
from pathlib import Path
from speakerdb.store import gallery_file

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "file":
    gallery_file._make_tables = die
elif sys.argv[2] == "tables":
    Path.hardlink_to = die
else:
    system_hardlink_to = Path.hardlink_to
    def linked(*paths):
        system_hardlink_to(*paths)
        die()
    Path.hardlink_to = linked
os.makedirs(sys.argv[1], 0o700)
gallery_file.create(Path(sys.argv[1]) / "gallery.sqlite")
"""
    folder = tmp_path / "people"
    assert subprocess.run([sys.executable, "-c", script, folder, step], timeout=120, check=False).returncode == -9
    with Gallery.open(folder, encoder=known_voices) as gallery:
        assert gallery.speakers() == []
        with pytest.raises(EmptyGallery if step == "link" else NoSuchGallery):
            gallery.identify("ana 1")
        gallery.enroll("ana", "ana 1")
        assert gallery.identify("ana 1").speaker == "ana"
        assert gallery.check().findings == []


def test_tables_without_an_enrollment_are_an_empty_gallery(tmp_path, known_voices):
    gallery_file.create(tmp_path / "people" / FILE).close()
    with Gallery.open(tmp_path / "people", encoder=known_voices) as gallery:
        for use in (lambda: gallery.identify("ana 1"), gallery.check, gallery.rebuild):
            with pytest.raises(EmptyGallery):
                use()
        gallery.enroll("ana", "ana 1")
        assert gallery.check().findings == []
