"""The SQLite file: how it is opened, upgraded and locked, and damage is an error, never another answer."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from known_voices import DIMENSION, KnownVoices, voice
from sqlalchemy import text

from speakerdb import Encoder, Gallery, SpeakerdbError, settings
from speakerdb.embedding import average, distances, normalize
from speakerdb.errors import (
    EmptyGallery,
    GalleryDamaged,
    GalleryFull,
    GalleryLocked,
    GalleryTooNew,
    NoSuchGallery,
    StateError,
)
from speakerdb.store import binding, database, records, upgrade, voiceprints
from speakerdb.store.binding import EncoderIdentity
from speakerdb.store.database import FILE, Database
from speakerdb.store.records import NewEnrollment
from speakerdb.store.schema import METADATA, OLDER_REVISIONS, REVISION

NEAR = 1.2
"""Random voices lie 1.41 from one another, and 0.9 from the voiceprint of three of which they are one."""

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no modes and no umask")


PEOPLE = {f"person {letter}": [f"{letter}{number}" for number in range(1 + rank % 3)]
          for rank, letter in enumerate("abcdefghijkl")}  # fmt: skip


def voiceprint(name: str) -> np.ndarray:
    """What the gallery should hold of one of PEOPLE, worked out here."""
    mean = np.mean([voice(recording).astype(float) for recording in PEOPLE[name]], axis=0)
    return mean / np.linalg.norm(mean)


@pytest.fixture(scope="session")
def people_once(known_voices, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed gallery of twelve with a snapshot of its index; not to be changed."""
    folder = tmp_path_factory.mktemp("people") / "people"
    with Gallery.open(folder, encoder=known_voices, index="numpy") as gallery:
        for name, recordings in PEOPLE.items():
            gallery.enroll(name, recordings)
        gallery.rebuild()
    return folder


@pytest.fixture
def people(people_once: Path, tmp_path: Path) -> Path:
    """The gallery of twelve, the test's own."""
    return shutil.copytree(people_once, tmp_path / "people")


def rows(path: Path, statement: str) -> list[tuple]:
    """What another program reads from the file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def change(path: Path, *statements: str) -> None:
    """What another program writes into the file."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


# Opening


@pytest.mark.parametrize("opened", [database.create, database.open_existing])
def test_every_connection_is_durable_keeps_foreign_keys_and_deletes_for_good(opened, people):
    store = opened(people / FILE)
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(store.reading()) for _ in range(6)]  # more than the pool keeps
        for connection in sessions:
            pragmas = ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
            values = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in pragmas]
            assert values == ["wal", 2, 1, 1]
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
        assert gallery.folder.parent.stat().st_mode & 0o777 == 0o777 & ~umask  # those above are the user's own
    finally:
        os.umask(before)


def test_alembic_is_not_imported_where_nothing_is_upgraded(people):
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
    done = subprocess.run([sys.executable, "-c", script, people], check=True, capture_output=True, timeout=120)
    assert done.stdout.strip() == b"[]"


def test_a_session_that_raises_leaves_nothing_behind(people):
    store = database.open_existing(people / FILE)
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), store.writing() as connection:
            records.add_speaker(connection, "nobody")
            raise error
    with store.reading() as connection:
        assert records.speaker_id(connection, "nobody") is None
    store.close()


def test_more_ids_than_sqlite_takes_in_one_statement_are_looked_up(people):
    store = database.open_existing(people / FILE)
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
    with pytest.raises(GalleryDamaged, match=r"is damaged \(.*\); restore it from a backup"):
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


def test_a_gallery_of_a_newer_program_is_not_touched(people):
    change(people / FILE, "UPDATE alembic_version SET version_num = '0042'")
    for use in (Gallery.open, lambda folder: upgrade.upgrade(folder / FILE)):
        with pytest.raises(GalleryTooNew, match=r"newer speakerdb \(schema 0042\); upgrade with"):
            use(people)
    assert rows(people / FILE, "SELECT count(*) FROM speaker") == [(len(PEOPLE),)]


@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_database_that_was_emptied_is_damaged_and_not_begun_anew(people, known_voices, size):
    with (people / FILE).open("r+b") as file:
        file.truncate(size)
    with pytest.raises(GalleryDamaged, match=r"tables are missing|malformed"):
        Gallery.open(people, encoder=known_voices)
    assert (people / FILE).stat().st_size == size


@posix
@pytest.mark.parametrize("step", ["file", "tables", "link"])
def test_a_gallery_whose_maker_is_killed_is_not_there_or_whole(tmp_path, known_voices, step):
    script = """
import os, signal, sys
from pathlib import Path
from speakerdb.store import database

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "file":
    database._make_tables = die
elif sys.argv[2] == "tables":
    Path.hardlink_to = die
else:
    database.fsync_folder = die
os.makedirs(sys.argv[1], 0o700)
database.create(Path(sys.argv[1]) / "gallery.sqlite")
"""
    folder = tmp_path / "people"
    assert subprocess.run([sys.executable, "-c", script, folder, step], timeout=120, check=False).returncode == -9
    with Gallery.open(folder, encoder=known_voices) as gallery:
        assert gallery.speakers() == []
        with pytest.raises(EmptyGallery if step == "link" else NoSuchGallery):
            gallery.identify("ana 1")
        gallery.enroll("ana", "ana 1")
        assert gallery.identify("ana 1").speaker == "ana"
        assert all("making that was cut off; delete it" in finding for finding in gallery.check().findings)


def test_tables_without_an_enrollment_are_an_empty_gallery(tmp_path, known_voices):
    database.create(tmp_path / "people" / FILE).close()
    with Gallery.open(tmp_path / "people", encoder=known_voices) as gallery:
        for use in (lambda: gallery.identify("ana 1"), gallery.check, gallery.rebuild):
            with pytest.raises(EmptyGallery):
                use()
        gallery.enroll("ana", "ana 1")
        assert gallery.check().findings == []


# Upgrading


def shape(path: Path) -> dict[str, list]:
    """Everything that SQLite knows of the tables, but for how their statements were spelt."""
    tables = [name for (name,) in rows(path, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
    found = {}
    for table in tables:
        indexes = rows(path, f"SELECT name, [unique], origin FROM pragma_index_list('{table}') ORDER BY name")
        found[table] = [
            rows(path, f"SELECT * FROM pragma_table_info('{table}')"),
            rows(path, f"SELECT * FROM pragma_foreign_key_list('{table}')"),
            [(*index, rows(path, f"SELECT * FROM pragma_index_info('{index[0]}')")) for index in indexes],
            rows(path, f"SELECT sql LIKE '%AUTOINCREMENT%', sql LIKE '%CHECK (id = 1)%' "
                 f"FROM sqlite_master WHERE name = '{table}'"),
        ]  # fmt: skip
    return found


def test_the_migrations_make_the_tables_that_the_code_makes(tmp_path):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    made = database.create(tmp_path / "made" / FILE)
    made.close()
    (tmp_path / FILE).touch()
    migrated = Database(tmp_path / FILE)
    upgrade.run_migrations(migrated)
    with migrated.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    migrated.close()
    assert shape(tmp_path / FILE) == shape(tmp_path / "made" / FILE)
    assert set(shape(tmp_path / FILE)) == {"alembic_version", "sqlite_sequence", *METADATA.tables}
    assert rows(tmp_path / FILE, "SELECT * FROM alembic_version") == [(REVISION,)]
    script = ScriptDirectory(str(upgrade.MIGRATIONS))
    revisions = [revision.revision for revision in script.walk_revisions()]
    assert revisions == [REVISION, *reversed(OLDER_REVISIONS)]


def test_a_gallery_that_is_up_to_date_needs_no_upgrade(people):
    before = (people / FILE).read_bytes()
    assert upgrade.upgrade(people / FILE) == (REVISION, REVISION)
    assert (people / FILE).read_bytes() == before


NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "{before}"


def upgrade():
    with op.batch_alter_table("speaker", recreate="always") as table:  # as SQLite needs it for most changes
        table.add_column(sa.Column("language", sa.String(8), nullable=False, server_default="und"))
    {then}
"""


@pytest.fixture
def next_program(tmp_path, monkeypatch) -> Callable[[str], None]:
    """This program one revision later; what its migration does at the end is given."""

    def install(then: str = "pass") -> None:
        folder = shutil.copytree(upgrade.MIGRATIONS, tmp_path / "migrations")
        (folder / "versions" / "next.py").write_text(NEXT.format(before=REVISION, then=then))
        monkeypatch.setattr(upgrade, "MIGRATIONS", folder)
        for module in (upgrade, database):
            monkeypatch.setattr(module, "REVISION", "next")
            monkeypatch.setattr(module, "OLDER_REVISIONS", (*OLDER_REVISIONS, REVISION))

    return install


COUNTS = """SELECT (SELECT count(*) FROM speaker), (SELECT count(*) FROM enrollment),
                   (SELECT count(*) FROM voiceprint)"""


def test_an_older_gallery_asks_for_its_upgrade_and_loses_nothing_by_it(people, next_program):
    before = rows(people / FILE, COUNTS)
    next_program()
    with pytest.raises(StateError, match=f"has schema {REVISION}, next is needed; run `speakerdb db upgrade`"):
        Gallery.open(people)
    assert upgrade.upgrade(people / FILE) == (REVISION, "next")
    assert rows(people / FILE, COUNTS) == before
    assert rows(people / FILE, "SELECT DISTINCT language FROM speaker") == [("und",)]
    assert rows(people / FILE, "PRAGMA foreign_key_check") == []
    assert upgrade.upgrade(people / FILE) == ("next", "next")


@pytest.mark.parametrize(
    ("then", "error"),
    [
        ("raise RuntimeError('half-way')", RuntimeError),
        ("op.execute('DELETE FROM speaker')", GalleryDamaged),
        ("op.execute('nonsense')", GalleryDamaged),
    ],
    ids=["it raises", "it breaks a foreign key", "SQLite refuses it"],
)
def test_an_upgrade_that_fails_leaves_the_gallery_as_it_was(people, next_program, then, error):
    before = shape(people / FILE), rows(people / FILE, COUNTS), rows(people / FILE, "SELECT * FROM speaker")
    next_program(then)
    with pytest.raises(error):
        upgrade.upgrade(people / FILE)
    after = shape(people / FILE), rows(people / FILE, COUNTS), rows(people / FILE, "SELECT * FROM speaker")
    assert after == before
    assert rows(people / FILE, "SELECT * FROM alembic_version") == [(REVISION,)]


# Damage


def flip(path: Path, position: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def stored(vector: np.ndarray) -> bytes:
    return vector.astype("<f4").tobytes()


@pytest.mark.parametrize("byte", [0, 3, 400, 767])
def test_a_bit_that_flips_in_a_voiceprint_is_damage_and_not_another_distance(people, known_voices, byte):
    exact = stored(average(np.stack([voice(recording) for recording in PEOPLE["person c"]])))
    whole = (people / FILE).read_bytes()
    assert whole.count(exact) == 1
    flip(people / FILE, whole.index(exact) + byte)
    with Gallery.open(people, encoder=known_voices) as gallery:
        with pytest.raises(GalleryDamaged, match="a vector's checksum does not agree"):
            gallery.verify("person c", "c0")
        with pytest.raises(GalleryDamaged, match="a vector's checksum does not agree"):
            gallery.identify("c0")
        assert gallery.verify("person d", "d0").accepted
        assert gallery.check().findings == ["speaker 'person c' is damaged (a vector's checksum does not agree)"]


def test_a_bit_that_flips_in_an_enrollment_is_found_before_it_is_averaged(people, known_voices):
    position = (people / FILE).read_bytes().index(stored(voice("c1")))
    flip(people / FILE, position + 100)
    with Gallery.open(people, encoder=known_voices) as gallery:
        assert gallery.verify("person c", "c0", threshold=NEAR).accepted
        with pytest.raises(GalleryDamaged, match="a vector's checksum does not agree"):
            gallery.enroll("person c", "c9")
        assert gallery.speakers()[2].enrollments == 3
        assert "person c" in gallery.check().findings[0]


def test_a_bit_that_flips_in_a_name_is_damage_and_not_another_person(people, known_voices):
    change(people / FILE, "UPDATE speaker SET name = 'person q' WHERE name = 'person c'")
    with Gallery.open(people, encoder=known_voices) as gallery:
        for use in (
            lambda: gallery.verify("person q", "c0"),
            lambda: gallery.identify("c0"),
            gallery.speakers,
            lambda: gallery.remove("person q"),
            lambda: gallery.enroll("ana", "c0"),
        ):
            with pytest.raises(GalleryDamaged, match="a name's checksum does not agree"):
                use()


@pytest.mark.parametrize("table", ["voiceprint", "enrollment"])
def test_a_vector_that_strays_to_another_speaker_is_damage(people, known_voices, table):
    swap = f"UPDATE {table} SET speaker_id = CASE speaker_id WHEN 1 THEN 4 ELSE 1 END WHERE speaker_id IN (1, 4)"
    if table == "voiceprint":  # its key: by way of an id that nobody has
        moves = ((1, 99), (4, 1), (99, 4))
        change(
            people / FILE,
            *(f"UPDATE voiceprint SET speaker_id = {to} WHERE speaker_id = {at}" for at, to in moves),
        )
    else:
        change(people / FILE, swap)
    with Gallery.open(people, encoder=known_voices) as gallery:
        assert [finding for finding in gallery.check().findings if "checksum" in finding]
        with pytest.raises(GalleryDamaged, match="checksum"):
            gallery.verify("person a", "a0") if table == "voiceprint" else gallery.enroll("person a", "a9")


@pytest.mark.parametrize(
    ("statement", "use"),
    [
        ("UPDATE voiceprint SET vector = 7", lambda gallery: gallery.identify("a0")),
        ("UPDATE voiceprint SET vector = ''", lambda gallery: gallery.verify("person a", "a0")),
        ("UPDATE voiceprint SET vector_crc32 = 'x'", lambda gallery: gallery.identify("a0")),
        ("UPDATE gallery SET generation = 'x'", lambda gallery: gallery.identify("a0")),
        ("UPDATE gallery SET generation = 'x'", lambda gallery: gallery.remove("person a")),
        ("UPDATE gallery SET uuid = x'00'", lambda gallery: gallery.identify("a0")),
        ("UPDATE encoder SET dimension = 'x'", lambda gallery: gallery.identify("a0")),
        ("UPDATE speaker SET created = x'00'", lambda gallery: gallery.speakers()),
        ("UPDATE enrollment SET quality = '{'", lambda gallery: gallery.speakers(enrollments=True)),
        ("UPDATE enrollment SET quality = x'ff'", lambda gallery: gallery.speakers(enrollments=True)),
        ("UPDATE enrollment SET net_speech_s = 'x'", lambda gallery: gallery.speakers(enrollments=True)),
        ("UPDATE enrollment SET source = x'00'", lambda gallery: gallery.speakers(enrollments=True)),
        ("DELETE FROM voiceprint WHERE speaker_id = 1", lambda gallery: gallery.verify("person a", "a0")),
        ("DELETE FROM voiceprint WHERE speaker_id = 1", lambda gallery: gallery.identify("a0")),
        ("DELETE FROM speaker WHERE id = 1", lambda gallery: gallery.identify("a0")),
        ("DELETE FROM gallery", lambda gallery: gallery.remove("person a")),
        ("DROP TABLE voiceprint", lambda gallery: gallery.identify("a0")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("snapshot", [True, False], ids=["with snapshot", "without"])
def test_a_row_that_is_not_what_was_written_is_damage(people, known_voices, statement, use, snapshot):
    if not snapshot:
        shutil.rmtree(people / "index")
    change(people / FILE, statement.replace("''", "x''"))
    with Gallery.open(people, encoder=known_voices) as gallery, pytest.raises(GalleryDamaged):
        use(gallery)


def expected(probe: str) -> dict[str, float]:
    """Exact distances by name."""
    vector = voice(probe).astype(float)
    return {name: float(np.linalg.norm(vector - voiceprint(name))) for name in PEOPLE}


Answer = TypeVar("Answer")


@dataclass
class Trial:
    """Everything that can be asked of a damaged gallery; each answer is right or an error of the tree."""

    folder: Path
    encoder: KnownVoices
    errors: int = 0

    def run(self) -> int:
        """How many of the questions ended in an error."""
        for ask in (self.look, self.listen, self.change, self.look, self.listen):
            gallery = self.tried(lambda: Gallery.open(self.folder, encoder=self.encoder, index="numpy"))
            if gallery is not None:
                with gallery:
                    ask(gallery)
        return self.errors

    def tried(self, use: Callable[[], Answer]) -> Answer | None:
        try:
            return use()
        except SpeakerdbError as error:
            assert "\n" not in str(error)
            self.errors += 1
            return None

    def look(self, gallery: Gallery) -> None:
        listed = self.tried(gallery.speakers)
        if listed is not None:
            assert {entry.speaker for entry in listed} <= {*PEOPLE, "new", "renamed"}
        self.tried(lambda: gallery.speakers(enrollments=True))
        self.tried(gallery.check)

    def listen(self, gallery: Gallery) -> None:
        for probe in ("c0", "h1", "stranger"):
            right = expected(probe)
            found = self.tried(lambda probe=probe: gallery.identify(probe, top=3, threshold=NEAR))
            if found is not None:
                nearest = min((distance, name) for name, distance in right.items())
                listed = [(candidate.distance, candidate.speaker) for candidate in found.candidates]
                for distance, name in listed:
                    if name in right:
                        assert abs(distance - right[name]) < 1e-6
                if probe != "stranger":
                    assert found.speaker == nearest[1]
                else:
                    assert found.speaker is None
            for name in ("person c", "person h"):
                verified = self.tried(lambda n=name, p=probe: gallery.verify(n, p, threshold=NEAR))
                if verified is not None:
                    assert abs(verified.distance - right[name]) < 1e-6

    def change(self, gallery: Gallery) -> None:
        self.tried(lambda: gallery.enroll("new", "new 1"))
        renamed = self.tried(lambda: gallery.rename("person b", "renamed"))
        self.tried(lambda: gallery.remove("person a"))
        if renamed is not None:  # else a recording less would rightly be another distance of person b
            self.tried(lambda: gallery.remove_enrollment(3))
        self.tried(gallery.rebuild)


def damaged_at(whole: bytes, trials: int, seed: int) -> Iterator[tuple[int, int]]:
    """Positions and bits; three quarters where something is written, the rest anywhere."""
    rng = np.random.default_rng(seed)
    written = np.flatnonzero(np.frombuffer(whole, np.uint8))
    for trial in range(trials):
        position = rng.integers(len(whole)) if trial % 4 == 0 else rng.choice(written)
        yield int(position), int(rng.integers(8))


@pytest.mark.slow
@pytest.mark.parametrize("snapshot", [True, False], ids=["with snapshot", "without"])
def test_a_database_with_a_flipped_bit_gives_right_answers_or_an_error(people_once, tmp_path, known_voices, snapshot):
    whole = (people_once / FILE).read_bytes()
    told = 0
    for trial, (position, bit) in enumerate(damaged_at(whole, 35, seed=int(snapshot))):
        folder = shutil.copytree(people_once, tmp_path / str(trial))
        if not snapshot:
            shutil.rmtree(folder / "index")
        flip(folder / FILE, position, bit)
        try:
            told += Trial(folder, known_voices).run() > 0
        except Exception as error:
            raise AssertionError(f"bit {bit} of byte {position} flipped") from error
    assert told  # some of it was felt; how much depends on where SQLite put what


def test_a_database_cut_short_gives_right_answers_or_an_error(people_once, tmp_path, known_voices):
    whole = (people_once / FILE).read_bytes()
    lengths = [1, 15, 16, 99, 100, 511, 512, *range(4095, len(whole), len(whole) // 12)]
    for length in lengths:
        folder = shutil.copytree(people_once, tmp_path / str(length))
        (folder / FILE).write_bytes(whole[:length])
        try:
            told = Trial(folder, known_voices).run()
        except Exception as error:
            raise AssertionError(f"cut to {length} of {len(whole)} bytes") from error
        assert told or length > len(whole) - 4096  # less than a page may hold nothing


# Several processes, several connections


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
    workers, people, known_voices, monkeypatch
):
    worker = workers[0]
    with Gallery.open(people, encoder=known_voices, index="numpy") as gallery:
        assert gallery.identify("new 1").speaker is None

        def read_everything(connection):
            raise AssertionError("the change log was enough")

        monkeypatch.setattr(voiceprints, "in_batches", read_everything)
        assert worker.do(people, "enroll", "new", ["new 1"])["total"] == 1
        assert gallery.identify("new 1").speaker == "new"
        assert worker.do(people, "enroll", "person a", ["a9"])["total"] == 2
        both = normalize(voice("a0").astype(float) + voice("a9"))
        distance = gallery.identify("a9").distance
        assert distance == pytest.approx(distances(voice("a9"), both[None])[0], abs=1e-6)
        assert worker.do(people, "rename", "new", "newer")["after"] == "newer"
        assert gallery.identify("new 1").speaker == "newer"
        assert worker.do(people, "remove", "newer")["log_erased"]
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


def test_a_gallery_that_is_locked_can_be_read_and_says_so_to_writers(people, known_voices, impatient):
    with (
        contextlib.closing(sqlite3.connect(people / FILE)) as other,
        Gallery.open(people, encoder=known_voices) as gallery,
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


def test_a_removal_that_a_reader_holds_up_says_so_and_check_finishes_it(people, known_voices, impatient):
    removed = stored(voice("d0"))
    with (
        contextlib.closing(sqlite3.connect(people / FILE)) as other,
        Gallery.open(people, encoder=known_voices) as gallery,
    ):
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM speaker").fetchone() == (len(PEOPLE),)
        assert not gallery.remove("person d").log_erased
        assert other.execute("SELECT count(*) FROM speaker").fetchone() == (len(PEOPLE),)
        other.rollback()
        assert gallery.check().findings == []
        assert not [path for path in people.rglob("*") if path.is_file() and removed in path.read_bytes()]


def test_a_database_above_the_limit_is_not_written_anew(people, known_voices, monkeypatch):
    monkeypatch.setattr(settings, "REWRITE_BELOW_BYTES", 0)
    size = (people / FILE).stat().st_size
    with Gallery.open(people, encoder=known_voices) as gallery:
        assert gallery.remove("person d").log_erased
        assert (people / FILE).stat().st_size == size
        monkeypatch.undo()
        gallery.remove("person e")
        assert (people / FILE).stat().st_size < size


def test_a_database_that_may_not_grow_is_full_and_unchanged(people):
    store = database.open_existing(people / FILE)
    before = rows(people / FILE, COUNTS)
    with (
        pytest.raises(GalleryFull, match=r"no space left for .*; nothing was changed"),
        store.writing() as connection,
    ):
        connection.execute(text("PRAGMA max_page_count = 1"))
        for number in range(200):
            speaker = records.add_speaker(connection, f"new {number}")
            new = NewEnrollment("new", f"{number:064x}", 2.0, {}, voice("new"))
            records.add_enrollment(connection, speaker, new)
    assert rows(people / FILE, COUNTS) == before
    store.close()


def test_a_gallery_is_bound_once(people):
    store = database.open_existing(people / FILE)
    with pytest.raises(GalleryDamaged, match="UNIQUE"), store.writing() as connection:
        binding.bind(connection, EncoderIdentity("other", "1", "0" * 64, DIMENSION))
    store.close()


# Galleries of earlier releases: tests/data/gallery-REVISION, each made by the program of its time


STORED = Path(__file__).parent / "data"


@pytest.mark.parametrize("revision", OLDER_REVISIONS)
def test_a_gallery_of_an_earlier_schema_is_upgraded_with_everything_in_it(tmp_path, revision):
    folder = shutil.copytree(STORED / f"gallery-{revision}", tmp_path / "people")
    before = {table: rows(folder / FILE, f"SELECT * FROM {table}") for table in ("speaker", "enrollment", "voiceprint")}
    with pytest.raises(StateError, match=f"has schema {revision}, {REVISION} is needed; run `speakerdb db upgrade`"):
        Gallery.open(folder)
    assert upgrade.upgrade(folder / FILE) == (revision, REVISION)
    assert {table: rows(folder / FILE, f"SELECT * FROM {table}") for table in before} == before
    bundle = Encoder.load()._bundle
    [(sha256,)] = rows(folder / FILE, "SELECT sha256 FROM encoder")
    then = replace(bundle, card=replace(bundle.card, sha256=sha256))  # its vectors are ready; none is compared here
    with Gallery.open(folder, encoder=Encoder(then)) as gallery:
        listed = {entry.speaker: entry.enrollments for entry in gallery.speakers(enrollments=True)}
        assert listed == {"Zoë": 1, "ana": 2}
        findings = gallery.check().findings
        assert [line for line in findings if "read by others" not in line] == []  # a checkout has modes of its own
