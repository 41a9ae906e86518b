"""Export and import, stopped half-way: a full disk, an error of the database, a kill at every step."""

from __future__ import annotations

import errno
import sqlite3

import pytest
from archives import enrolled, opened
from test_crash import child, lines_of
from twelve_people import PEOPLE, posix

from speakerdb.errors import GalleryFull
from speakerdb.store import archive, binding


def test_a_disk_that_is_full_leaves_no_archive(twelve, known_voices, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive.os, "fsync", full)
    with opened(twelve, known_voices) as gallery, pytest.raises(GalleryFull):
        gallery.export(tmp_path / "a.speakerdb")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("a.speakerdb")]


def test_an_import_that_fails_half_way_leaves_the_gallery_as_it_was(exported, conflicting, known_voices, monkeypatch):
    def fails(*_):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(binding, "record_change", fails)
    with opened(conflicting, known_voices) as gallery:
        with pytest.raises(Exception, match="I/O"):
            gallery.import_archive(exported, on_conflict="merge")
        monkeypatch.undo()
        assert enrolled(gallery) == {"person a": ["z1"], "person x": ["c1"]}
        assert gallery.check().findings == []


EXPORT = """
import speakerdb.store.archive as archive
with Gallery.open(folder, encoder=known, index="numpy") as gallery:
    {step}
    gallery.export(sys.argv[3])
    said("exported")
"""


@posix
@pytest.mark.parametrize(
    ("step", "there"),
    [
        ("die_before(os, 'fsync')", False),
        ("die_before(Path, 'hardlink_to')", False),
        ("die_after(Path, 'hardlink_to')", True),
    ],
)
def test_killed_while_it_is_written_an_archive_is_there_whole_or_not_at_all(
    twelve, known_voices, tmp_path, step, there
):
    file = tmp_path / "a.speakerdb"
    with child(EXPORT.format(step=step), twelve, file) as process:
        assert lines_of(process) == []
    assert file.exists() == there
    if there:
        with opened(tmp_path / "new", known_voices) as gallery:
            assert gallery.import_archive(file).speakers == len(PEOPLE)


IMPORT = """
from speakerdb.store import importing
gallery = Gallery.open(folder, encoder=known, index="numpy")
{step}
gallery.import_archive(sys.argv[3], on_conflict="merge")
said("imported")
"""


@posix
@pytest.mark.parametrize(
    ("step", "there"),
    [
        ("die_before(importing, 'write_all')", False),
        ("die_after(importing, 'write_all')", False),
        ("die_around_commit(before=True)", False),
        ("die_around_commit(before=False)", True),
    ],
)
def test_killed_while_it_imports_a_gallery_has_everybody_or_nobody_new(
    exported, conflicting, known_voices, step, there
):
    with child(IMPORT.format(step=step), conflicting, exported) as process:
        assert lines_of(process) == []
    with opened(conflicting, known_voices) as gallery:
        assert len(gallery.speakers()) == (len(PEOPLE) + 1 if there else 2)
        assert gallery.check().findings == []
