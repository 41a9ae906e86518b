"""Galleries that cannot be written from here: they answer, and who writes them elsewhere is noticed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from handed_in import EXAMPLES, Run, assert_refused, listing
from test_refusing_disks import as_an_ordinary_user
from twelve_people import posix

from speakerdb import Gallery
from speakerdb.errors import StorageError
from speakerdb.store.database import FILE, FIXED, Database

READER = """
import sys
from speakerdb import Gallery
from speakerdb.errors import StorageError

def listed():
    try:
        return ",".join(one.speaker for one in gallery.speakers())
    except StorageError as error:
        return str(error).split(" was ", 1)[1]

gallery = Gallery.open(sys.argv[1], index="numpy")
print(listed(), flush=True)
sys.stdin.readline()
print(listed(), flush=True)
gallery = Gallery.open(sys.argv[1], index="numpy")
print(listed(), flush=True)
"""


def through_a_mount(people: Path) -> list[str]:
    """A reader of the same folder, mounted read-only."""
    here = people.parent / "here"
    here.mkdir()
    mounted = f"mount --bind {people} {here} && mount -o remount,bind,ro {here}"
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "sh", "-c", mounted], check=False).returncode:
        pytest.skip("no mounts of one's own here")
    return ["unshare", "-rm", "sh", "-c", f'{mounted} && exec {sys.executable} -c "$0" {here}', READER]


def by_its_mode(people: Path) -> list[str]:
    """A reader who may not write the folder, which root may."""
    if os.geteuid() != 0:
        pytest.skip("there is nobody who could write what one may not oneself")
    people.chmod(0o500)
    return [*as_an_ordinary_user(), sys.executable, "-c", READER, str(people)]


@posix
@pytest.mark.parametrize("reading", [through_a_mount, by_its_mode])
@pytest.mark.parametrize("writing", [True, False], ids=["while another writes", "before another writes"])
def test_a_gallery_that_is_read_only_here_and_written_elsewhere_is_seen_as_it_is(
    tmp_path, known_voices, writing: bool, reading
) -> None:
    people = tmp_path / "people"
    gallery = Gallery.open(people, encoder=known_voices, index="numpy")
    gallery.enroll("ana", ["ana 0"])
    gallery.enroll("ben", ["ben 0"])
    gallery.check()  # cuts the log to nothing
    if not writing:
        gallery.close()
    with subprocess.Popen(reading(people), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ana,ben\n"
        with Gallery.open(people, encoder=known_voices, index="numpy") as writer:
            writer.remove("ana")
            writer.enroll("eva", ["eva 0"])
            told, _ = process.communicate("go\n", timeout=60)
    gallery.close()
    seen = "ben,eva" if writing else "changed while it was open; open the gallery again"
    assert told.splitlines() == [seen, "ben,eva"]


@posix
def test_a_link_to_a_file_whose_log_lies_elsewhere_is_no_reason_to_pass_over_the_log(enrolled: Path, tmp_path: Path):
    view = tmp_path / "view"
    view.mkdir()
    (view / FILE).symlink_to(enrolled / FILE)
    listed = "import sys, speakerdb as s; print([one.speaker for one in s.Gallery.open(sys.argv[1]).speakers()])"
    with Gallery.open(enrolled) as gallery:
        gallery.rename("ana", "zoe")
        view.chmod(0o500)
        command = [*as_an_ordinary_user(), sys.executable, "-c", listed, str(view)]
        assert subprocess.run(command, capture_output=True, text=True).stdout == "['ben', 'zoe']\n"


def test_a_log_that_is_there_by_the_first_reading_is_not_passed_over(enrolled: Path) -> None:
    with Gallery.open(enrolled) as gallery:
        gallery.rename("ana", "zoe")
        late = Database(enrolled / FILE, FIXED)  # the log came after it was decided that there is none
        with pytest.raises(StorageError, match="was changed while it was open"), late.reading():
            pass
        late.close()


def test_who_writes_while_it_is_read_is_noticed_before_anything_is_made_of_it(enrolled: Path) -> None:
    read = Database(enrolled / FILE, FIXED)
    with read.reading():
        pass
    with pytest.raises(StorageError, match="was changed while it was open"), read.reading() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM speaker").all()
        with Gallery.open(enrolled) as gallery:
            gallery.rename("ana", "zoe")
        raise ValueError("what was read made no sense")
    read.close()


@posix
def test_a_folder_that_may_not_be_written_is_asked_and_not_changed(enrolled: Path, tmp_path: Path, run: Run) -> None:
    before, clip = listing(enrolled), EXAMPLES / "ana_4.wav"
    user = as_an_ordinary_user()
    (enrolled / FILE).chmod(0o400)
    enrolled.chmod(0o500)
    try:
        files = sorted(path.name for path in enrolled.iterdir())
        for arguments in (
            ["identify", clip],
            ["verify", "ana", clip],
            ["speakers"],
            ["check"],
            ["compare", clip, clip],
        ):
            done = run(*arguments, before=user)
            assert (done.returncode, done.stderr) == (0, ""), arguments
        for arguments in (["enroll", "ana", clip], ["remove", "ana"], ["rename", "ana", "zoe"], ["rebuild"]):
            assert_refused(run(*arguments, before=user), 5, "cannot be written")
        assert sorted(path.name for path in enrolled.iterdir()) == files
        assert run("backup", tmp_path / "copy", before=user).returncode == 0
    finally:
        enrolled.chmod(0o700)
    assert listing(enrolled) == listing(tmp_path / "copy") == before


@posix
def test_a_log_in_a_folder_that_may_not_be_written_is_not_passed_over(enrolled: Path, run: Run) -> None:
    user = as_an_ordinary_user()
    (enrolled / f"{FILE}-wal").write_bytes(b"what was committed last")
    enrolled.chmod(0o500)
    try:
        assert_refused(run("speakers", before=user), 5, "cannot be written")
    finally:
        enrolled.chmod(0o700)
