"""Files that are there whole or not at all, on file systems of every kind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from known_voices import KnownVoices
from test_crash import child, lines_of
from twelve_people import posix

from speakerdb import Gallery, durable
from speakerdb.durable import MAKING
from speakerdb.errors import StateError, StorageError
from speakerdb.store import backup as backups
from speakerdb.store.database import FILE


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(MAKING)]


def test_what_is_being_made_stays_and_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    left = tmp_path / f"{MAKING}left"
    left.mkdir()
    (left / "voices").write_bytes(b"voices")
    with durable.making(tmp_path) as made:
        assert left_in(tmp_path) == [made.name]
        assert not durable.clear(tmp_path)  # there are voices in it
        assert durable.left_over(tmp_path) == []
        assert made.exists()
    assert left_in(tmp_path) == []


@posix
def test_a_link_in_a_drafts_place_is_not_gone_into(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (tmp_path / f"{MAKING}link").symlink_to(tmp_path / "mine")
    durable.clear(tmp_path)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]


@posix
def test_a_draft_without_its_lock_is_left_over_too(tmp_path: Path) -> None:
    (tmp_path / f"{MAKING}left").mkdir()
    assert durable.left_over(tmp_path) == [tmp_path / f"{MAKING}left"]
    assert durable.clear(tmp_path) and left_in(tmp_path) == []


@posix
def test_a_draft_that_somebody_looks_at_for_a_moment_is_made_all_the_same(tmp_path, monkeypatch) -> None:
    import fcntl
    import threading

    opened, held = durable._opened, []

    def looked_at(lock: Path, how: int) -> int:
        descriptor = opened(lock, how)
        if how & os.O_EXCL and not held:
            held.append(opened(lock, os.O_RDONLY))
            fcntl.flock(held[0], fcntl.LOCK_EX)
            threading.Timer(0.05, os.close, held).start()
        return descriptor

    monkeypatch.setattr(durable, "_opened", looked_at)
    with durable.making(tmp_path) as made:
        assert left_in(tmp_path) == [made.name]
    assert held and left_in(tmp_path) == []


@posix
def test_where_locks_are_refused_no_descriptor_is_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> bool:
        raise OSError(errno.ENOLCK, "no locks")

    (tmp_path / f"{MAKING}left").mkdir()
    monkeypatch.setattr(durable, "take_lock", no_locks)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        durable.clear(tmp_path)
        durable.left_over(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@posix
def test_a_link_to_nothing_keeps_its_name(tmp_path: Path, known_voices, monkeypatch: pytest.MonkeyPatch) -> None:
    with Gallery.open(tmp_path / "people", encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", ["ana 0"])
        (tmp_path / "link").symlink_to(tmp_path / "nothing")
        with pytest.raises(StateError, match="there already"):
            gallery.export(tmp_path / "link")
    for links in (True, False):
        if not links:
            monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no")))
        (tmp_path / "draft").write_text("draft")
        with pytest.raises(FileExistsError):
            durable.give_name(tmp_path / "draft", tmp_path / "link")
        assert (tmp_path / "link").is_symlink() and not (tmp_path / "nothing").exists()


def test_where_nothing_can_be_locked_nothing_is_cleared_and_a_removal_says_so(
    tmp_path: Path, known_voices: KnownVoices, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gallery.open(tmp_path / "people", encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", ["ana 0"])
        gallery.enroll("ben", ["ben 0"])
        (tmp_path / "people" / f"{MAKING}left").mkdir()

        def no_locks(_: int) -> bool:
            raise OSError(errno.ENOLCK, "no locks")

        monkeypatch.setattr(durable, "take_lock", no_locks)
        assert not gallery.remove("ana").log_erased
        monkeypatch.undo()
        assert "left from a gallery's making" in "\n".join(gallery.check().findings)
        assert gallery.remove("ben").log_erased


@pytest.mark.parametrize("links", [True, False])
def test_a_name_that_is_taken_stays_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def none_here(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", none_here)
    for name in ("first", "second"):
        (tmp_path / name).write_text(name)
    durable.give_name(tmp_path / "first", tmp_path / "file")
    with pytest.raises(FileExistsError):
        durable.give_name(tmp_path / "second", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "first"


def test_a_link_that_is_said_to_be_there_already_and_is_the_file_itself_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(file: Path, draft: Path) -> None:
        os.link(draft, file)
        raise FileExistsError(file)  # NFS, where the answer to the first attempt was lost

    monkeypatch.setattr(Path, "hardlink_to", twice)
    (tmp_path / "draft").write_text("whole")
    durable.give_name(tmp_path / "draft", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "whole"


@posix
def test_a_file_system_that_takes_no_folders_fsync_is_good_enough(tmp_path, known_voices, monkeypatch) -> None:
    def of_files_alone(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", of_files_alone)
    with Gallery.open(tmp_path / "people", encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", ["ana 0"])
        assert gallery.export(tmp_path / "archive").speakers == 1
        assert gallery.backup(tmp_path / "copy").speakers == 1


def test_a_copy_goes_where_it_was_told_to_wherever_the_program_goes(tmp_path, known_voices, monkeypatch) -> None:
    copied = backups._copy
    (tmp_path / "elsewhere").mkdir()

    def and_away(*arguments: object) -> None:
        copied(*arguments)  # type: ignore[arg-type]
        os.chdir(tmp_path / "elsewhere")

    monkeypatch.chdir(tmp_path)
    with Gallery.open(tmp_path / "people", encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", ["ana 0"])
        monkeypatch.setattr(backups, "_copy", and_away)
        assert gallery.backup("copy").speakers == 1
    assert [path.name for path in (tmp_path / "copy").iterdir()] == [FILE]


KILLED_MAKING = """
from speakerdb import durable
gallery = Gallery.open(folder, encoder=known, index="numpy")
system_hardlink_to = Path.hardlink_to
def linked(*paths):
    system_hardlink_to(*paths)
    die_before(durable, "fsync_folder")
Path.hardlink_to = linked
gallery.enroll("ana", ["ana 0"])
"""


@posix
def test_a_killed_makings_draft_in_the_gallerys_folder_goes_when_somebody_opens_it(tmp_path, known_voices) -> None:
    with child(KILLED_MAKING, tmp_path / "people") as process:
        lines_of(process)
    assert len(left_in(tmp_path / "people")) == 1
    with Gallery.open(tmp_path / "people", encoder=known_voices, index="numpy") as gallery:
        assert left_in(tmp_path / "people") == []
        gallery.enroll("ana", ["ana 0"])
        assert gallery.check().findings == []


@posix
def test_a_draft_that_is_left_while_a_gallery_is_open_goes_with_a_removal(tmp_path, known_voices) -> None:
    with Gallery.open(tmp_path / "people", encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", ["ana 0"])
        (tmp_path / "people" / f"{MAKING}left").mkdir(mode=0o700)
        (tmp_path / "people" / f"{MAKING}left" / "archive").write_bytes(b"a voice")
        [finding] = [one for one in gallery.check().findings if "others" not in one]
        assert "left from a gallery's making" in finding
        assert gallery.remove("ana").log_erased
    assert left_in(tmp_path / "people") == []


@posix
def test_a_folder_that_a_killed_process_made_gets_its_entry_on_disk(tmp_path: Path, monkeypatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(durable, "fsync_folder", asked.append)
    (tmp_path / "people").mkdir(0o755)
    durable.make_folder(tmp_path / "people")
    assert asked == [tmp_path]
    assert (tmp_path / "people").stat().st_mode & 0o777 == 0o700


def test_a_path_that_is_too_long_for_sqlite_is_called_that(tmp_path: Path, known_voices: KnownVoices) -> None:
    deep = tmp_path.joinpath("x" * 200, "y" * 200, "z" * 200)
    with (
        Gallery.open(deep, encoder=known_voices, index="numpy") as gallery,
        pytest.raises(StorageError, match="a longer path than SQLite takes"),
    ):
        gallery.enroll("ana", ["ana 0"])
