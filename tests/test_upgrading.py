"""Galleries of earlier programs are upgraded with everything in them, or stay as they were."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from twelve_people import COUNTS, change, rows

from speakerdb import Encoder, Gallery
from speakerdb.errors import GalleryDamaged, StateError
from speakerdb.store import gallery_file, upgrade
from speakerdb.store.database import FILE, Database
from speakerdb.store.schema import METADATA, OLDER_REVISIONS, REVISION

STORED = Path(__file__).parent / "data"


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

    made = gallery_file.create(tmp_path / "made" / FILE)
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


def test_a_gallery_that_is_up_to_date_needs_no_upgrade(twelve):
    before = (twelve / FILE).read_bytes()
    assert upgrade.upgrade(twelve / FILE) == (REVISION, REVISION)
    assert (twelve / FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("INSERT INTO alembic_version VALUES ('zzzz')", "it has several schemas"),
        ("DROP TABLE voiceprint", "voiceprint"),
        ("DROP TABLE enrollment", "enrollment"),
        ("ALTER TABLE gallery RENAME COLUMN uuid TO id2", "gallery has no uuid"),
    ],
)
def test_a_damaged_gallery_is_not_upgraded(tmp_path, statement, said):
    shutil.copytree(STORED / "gallery-0001", tmp_path / "people")
    change(tmp_path / "people" / FILE, statement)
    before = (tmp_path / "people" / FILE).read_bytes()
    with pytest.raises(GalleryDamaged, match=said):
        upgrade.upgrade(tmp_path / "people" / FILE)
    assert (tmp_path / "people" / FILE).read_bytes() == before


def test_a_folder_of_a_gallerys_name_is_not_upgraded(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(GalleryDamaged, match="not a file"):
        upgrade.upgrade(tmp_path / FILE)


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
        for module in (upgrade, gallery_file):
            monkeypatch.setattr(module, "REVISION", "next")
            monkeypatch.setattr(module, "OLDER_REVISIONS", (*OLDER_REVISIONS, REVISION))

    return install


def test_an_older_gallery_asks_for_its_upgrade_and_loses_nothing_by_it(twelve, next_program):
    before = rows(twelve / FILE, COUNTS)
    next_program()
    with pytest.raises(StateError, match=f"has schema {REVISION}, next is needed; run `speakerdb db upgrade`"):
        Gallery.open(twelve)
    assert upgrade.upgrade(twelve / FILE) == (REVISION, "next")
    assert rows(twelve / FILE, COUNTS) == before
    assert rows(twelve / FILE, "SELECT DISTINCT language FROM speaker") == [("und",)]
    assert rows(twelve / FILE, "PRAGMA foreign_key_check") == []
    assert upgrade.upgrade(twelve / FILE) == ("next", "next")


@pytest.mark.parametrize(
    ("then", "error"),
    [
        ("raise RuntimeError('half-way')", RuntimeError),
        ("op.execute('DELETE FROM speaker')", GalleryDamaged),
        ("op.execute('nonsense')", GalleryDamaged),
    ],
    ids=["it raises", "it breaks a foreign key", "SQLite refuses it"],
)
def test_an_upgrade_that_fails_leaves_the_gallery_as_it_was(twelve, next_program, then, error):
    before = shape(twelve / FILE), rows(twelve / FILE, COUNTS), rows(twelve / FILE, "SELECT * FROM speaker")
    next_program(then)
    with pytest.raises(error):
        upgrade.upgrade(twelve / FILE)
    after = shape(twelve / FILE), rows(twelve / FILE, COUNTS), rows(twelve / FILE, "SELECT * FROM speaker")
    assert after == before
    assert rows(twelve / FILE, "SELECT * FROM alembic_version") == [(REVISION,)]


# Galleries of earlier releases: tests/data/gallery-REVISION, each made by the program of its time


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
