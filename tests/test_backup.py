"""A copy of a gallery: whole, of one moment, and a gallery itself."""

from __future__ import annotations

import shutil
import stat
import threading
from pathlib import Path

import pytest
from known_voices import KnownVoices
from test_crash import FIRST, child, lines_of
from test_store import posix, rows

from speakerdb import Gallery, durable
from speakerdb.durable import MAKING
from speakerdb.errors import GalleryDamaged, InputError, NoSuchGallery, StateError, StorageError
from speakerdb.gallery import saving
from speakerdb.index import snapshot
from speakerdb.store.database import FILE

TABLES = (
    "gallery",
    "encoder",
    "speaker",
    "enrollment",
    "voiceprint",
    "change",
    "kept_audio",
    "calibration",
    "feedback",
)


def test_a_copy_holds_every_row_and_answers_as_the_original(enrolled: Path, examples: Path, tmp_path: Path) -> None:
    with Gallery.open(enrolled) as gallery:
        gallery.enroll("eva", examples / "eva_1.wav", keep_audio=True)
        gallery.feedback(gallery.verify("ana", examples / "ana_4.wav").decision, "correct")
        done = gallery.backup(tmp_path / "copy")
        expected = gallery.identify(examples / "ana_4.wav")
    assert (done.speakers, done.enrollments) == (3, 4)
    assert done.size_bytes == (tmp_path / "copy" / FILE).stat().st_size
    for table in TABLES:
        assert rows(tmp_path / "copy" / FILE, f"SELECT * FROM {table}") == rows(
            enrolled / FILE, f"SELECT * FROM {table}"
        )
    with Gallery.open(tmp_path / "copy") as copy:
        assert copy.check().findings == []
        assert copy.identify(examples / "ana_4.wav") == expected


@posix
def test_a_copy_is_as_private_as_a_gallery(enrolled: Path, tmp_path: Path) -> None:
    with Gallery.open(enrolled) as gallery:
        gallery.backup(tmp_path / "a" / "copy")
    assert stat.S_IMODE((tmp_path / "a" / "copy").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / "a" / "copy").iterdir()] == [FILE]
    assert stat.S_IMODE((tmp_path / "a" / "copy" / FILE).stat().st_mode) == 0o600


def test_a_gallery_is_never_overwritten_and_none_is_made_of_nothing(enrolled: Path, tmp_path: Path) -> None:
    before = (enrolled / FILE).read_bytes()
    with Gallery.open(enrolled) as gallery, pytest.raises(StateError, match="holds a gallery already"):
        gallery.backup(enrolled)
    with Gallery.open(enrolled) as gallery, pytest.raises(InputError, match="in the gallery's own folder"):
        gallery.backup(enrolled / "copy")
    assert (enrolled / FILE).read_bytes() == before
    with Gallery.open(tmp_path / "nothing") as nothing, pytest.raises(NoSuchGallery):
        nothing.backup(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_copy_made_while_others_write_is_of_one_moment(known_voices: KnownVoices, tmp_path: Path) -> None:
    done = threading.Event()

    def write() -> None:
        with Gallery.open(tmp_path / "people", encoder=known_voices, index="numpy") as writer:
            number = 0
            while not done.is_set():
                writer.enroll(f"person {number}", [f"{number} a", f"{number} b"])
                number += 1

    with Gallery.open(tmp_path / "people", encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("first", ["first"])
        thread = threading.Thread(target=write)
        thread.start()
        try:
            for turn in range(5):
                copied = gallery.backup(tmp_path / f"copy {turn}")
                with Gallery.open(tmp_path / f"copy {turn}", encoder=known_voices, index="numpy") as copy:
                    assert copy.check().findings == []
                    assert copied.enrollments == 1 + 2 * (copied.speakers - 1)  # never half an enrollment
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize("step", ["die_before(Path, 'hardlink_to')", "die_before(backups, '_copy')"])
def test_killed_before_it_has_its_name_a_copy_is_not_there_and_can_be_made(
    known_voices: KnownVoices, tmp_path: Path, step: str
) -> None:
    script = f"{FIRST}import speakerdb.store.backup as backups\n{step}\ngallery.backup(str(folder) + ' copy')\n"
    with child(script, tmp_path / "people") as process:
        said = lines_of(process)
    assert process.returncode == -9 and len(said) == 2
    target = tmp_path / "people copy"
    assert not (target / FILE).exists()
    [left] = target.glob(f"{MAKING}*")
    with Gallery.open(tmp_path / "people", encoder=known_voices, index="numpy") as gallery:
        assert gallery.backup(target).enrollments == 3
    assert not left.exists()  # it may hold voices


def test_a_killed_copy_in_a_gallerys_folder_is_gone_with_the_next_who_is_removed(known_voices, tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "people", encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", ["ana 0"])
        left = tmp_path / "people" / f"{MAKING}left"
        left.mkdir()
        (left / FILE).write_bytes(b"voices")
        with durable.making(tmp_path / "people") as under_way:
            gallery.remove("ana")
            assert under_way.exists()
    assert not left.exists() and not under_way.exists()


def test_what_was_deleted_or_replaced_is_not_copied(known_voices: KnownVoices, tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "people", encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", ["ana 0"])
        for path in (tmp_path / "people").glob("gallery.sqlite*"):
            path.unlink()
        with pytest.raises(StorageError):
            gallery.backup(tmp_path / "copy of nothing")
        with Gallery.open(tmp_path / "people", encoder=known_voices, index="numpy") as other:
            other.enroll("ben", ["ben 0"])
        with pytest.raises(StorageError, match="replaced while it was open"):
            gallery.backup(tmp_path / "copy of another")
    assert not list(tmp_path.rglob("copy of */gallery.sqlite"))


def test_a_damaged_gallery_is_told_and_leaves_no_copy(known_voices: KnownVoices, tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "people", encoder=known_voices, index="numpy") as gallery:
        for number in range(60):
            gallery.enroll(f"person {number}", [f"{number}"])
    with Gallery.open(tmp_path / "people", encoder=known_voices) as gallery:
        file = tmp_path / "people" / FILE
        content = bytearray(file.read_bytes())
        for page in range(8, len(content) // 4096):
            content[page * 4096 : page * 4096 + 12] = b"\xff" * 12
        file.write_bytes(content)
        with pytest.raises(GalleryDamaged):
            gallery.backup(tmp_path / "copy")
    assert not (tmp_path / "copy" / FILE).exists()


def test_a_backup_that_went_on_by_itself_is_not_answered_from_the_index_of_the_gallery(known_voices, tmp_path) -> None:
    people, copy = tmp_path / "people", tmp_path / "copy"
    with Gallery.open(people, encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", ["ana 1"])
        gallery.backup(copy)
        gallery.enroll("ben", ["ben 1"])
        gallery.rebuild()  # an index of the same generation as the copy's
    with Gallery.open(copy, encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("eva", ["eva 1"])
    shutil.copy(copy / FILE, people / FILE)
    with Gallery.open(people, encoder=known_voices, index="numpy") as gallery:
        assert not (people / saving.FOLDER / snapshot.FILE).exists()
        assert [gallery.identify(f"{name} 1").candidates[0].speaker for name in ("ana", "eva")] == ["ana", "eva"]
        assert gallery.check().findings == []


def test_an_older_state_that_went_on_is_not_answered_from_a_later_index(known_voices, tmp_path) -> None:
    people = tmp_path / "people"
    with Gallery.open(people, encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ana", ["ana 1"])
    shutil.copy(people / FILE, tmp_path / FILE)
    with Gallery.open(people, encoder=known_voices, index="numpy") as gallery:
        gallery.enroll("ben", ["ben 1"])
        gallery.rebuild()
    later = (people / saving.FOLDER / snapshot.FILE).read_bytes()
    shutil.copy(tmp_path / FILE, people / FILE)
    with Gallery.open(people, encoder=known_voices, index="numpy") as gallery:
        for name in ("eva", "ida", "kim"):
            gallery.enroll(name, [f"{name} 1"])
    (people / saving.FOLDER).mkdir(exist_ok=True)
    (people / saving.FOLDER / snapshot.FILE).write_bytes(later)  # of an earlier generation by now
    with Gallery.open(people, encoder=known_voices, index="numpy") as gallery:
        assert gallery.identify("eva 1").candidates[0].speaker == "eva"
        assert gallery.check().findings == []


def test_beside_a_log_whose_gallery_is_gone_there_is_neither_a_new_gallery_nor_a_copy(known_voices, tmp_path) -> None:
    left, away = tmp_path / "left", tmp_path / "away"
    with child(f"{FIRST}die()\n", left) as process:  # so that the log is not moved into the file
        lines_of(process)
    (left / FILE).rename(away)
    (left / f"{FILE}-shm").unlink()
    log = (left / f"{FILE}-wal").read_bytes()
    with Gallery.open(tmp_path / "other", encoder=known_voices, index="numpy") as other:
        other.enroll("zoe", ["zoe 1"])
        with pytest.raises(StorageError, match=r"is the log of a gallery whose gallery.sqlite is gone; put that file"):
            other.backup(left)
    with (
        Gallery.open(left, encoder=known_voices, index="numpy") as gallery,
        pytest.raises(StorageError, match=r"or delete its log"),
    ):
        gallery.enroll("zoe", ["zoe 1"])
    assert [path.name for path in left.glob(f"{FILE}*")] == [f"{FILE}-wal"]
    assert (left / f"{FILE}-wal").read_bytes() == log
    away.rename(left / FILE)
    with Gallery.open(left, encoder=known_voices, index="numpy") as gallery:
        assert [one.speaker for one in gallery.speakers()] == ["person 0", "person 1"]
        assert gallery.check().findings == []
