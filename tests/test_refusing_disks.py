"""Folders, disks, outputs and locks that refuse: told in one line, and the gallery stays as it was."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from handed_in import EXAMPLES, Run, assert_refused, encoded, listing, noise, only_line, run_here, voice

from speakerdb import Gallery, settings
from speakerdb.errors import GalleryFull, GalleryLocked


def as_an_ordinary_user() -> list[str]:
    """What stands before a command so that files' modes hold for it; root's do not."""
    if os.name == "nt":
        pytest.skip("access is not in the mode on Windows")
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root ignores modes, and setpriv, which takes that right away, is not installed")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


@pytest.fixture
def forbid() -> Iterator[Callable[[Path, int], None]]:
    """Change a mode for the rest of a test."""
    changed: list[tuple[Path, int]] = []

    def change(path: Path, mode: int) -> None:
        changed.append((path, path.stat().st_mode))
        path.chmod(mode)

    yield change
    for path, mode in reversed(changed):
        path.chmod(mode)


@pytest.mark.parametrize("order", [["enroll", "--manifest"], ["identify", "--manifest"]], ids=" ".join)
def test_a_folder_of_recordings_that_may_not_be_read_is_not_passed_over(
    order: list[str], enrolled: Path, tmp_path: Path, run: Run, forbid: Callable[[Path, int], None]
) -> None:
    for name in ("eva", "kal"):
        (tmp_path / "calls" / name / "monday").mkdir(parents=True)
        shutil.copy(EXAMPLES / f"{name}_1.wav", tmp_path / "calls" / name / "monday")
    before = listing(enrolled)
    forbid(tmp_path / "calls" / "kal" / "monday", 0o000)
    done = run(*order, tmp_path / "calls", before=as_an_ordinary_user())
    assert_refused(done, 3, f"{tmp_path}/calls/kal/monday: Permission denied")
    assert listing(enrolled) == before


@pytest.mark.parametrize(
    "order",
    [
        ["enroll", "--manifest"],
        ["identify", "--manifest"],
        ["verify", "--trials"],
        ["calibrate", "--trials"],
        ["import"],
    ],
    ids=" ".join,
)
def test_a_list_or_an_archive_that_may_not_be_read_is_one_that_cannot_be_used(
    order: list[str], enrolled: Path, tmp_path: Path, run: Run, forbid: Callable[[Path, int], None]
) -> None:
    (tmp_path / "list").write_text(f"1 ana {EXAMPLES / 'ana_4.wav'}")
    forbid(tmp_path / "list", 0o000)
    assert_refused(
        run(*order, tmp_path / "list", before=as_an_ordinary_user()), 3, f"{tmp_path}/list: Permission denied"
    )


@pytest.mark.parametrize(
    ("what", "mode"), [(".", 0o500), (".", 0o000), ("gallery.sqlite", 0o400), ("gallery.sqlite", 0o000)]
)
def test_a_gallery_that_may_not_be_written_says_so_and_stays(
    what: str, mode: int, enrolled: Path, run: Run, forbid: Callable[[Path, int], None]
) -> None:
    before, content = listing(enrolled), (enrolled / "gallery.sqlite").read_bytes()
    user = as_an_ordinary_user()
    forbid(enrolled / what, mode)
    assert_refused(run("enroll", "zoe", EXAMPLES / "eva_1.wav", before=user), 5, "gallery.sqlite")
    found = run("identify", EXAMPLES / "ana_1.wav", "--threshold", "2", before=user)
    if found.returncode == 0:
        assert (found.stderr, "ana" in found.stdout) == ("", True)
    else:
        assert_refused(found, 5, "gallery.sqlite")
    enrolled.chmod(0o700)
    (enrolled / "gallery.sqlite").chmod(0o600)
    assert (enrolled / "gallery.sqlite").read_bytes() == content
    assert listing(enrolled) == before


def test_an_index_that_may_not_be_read_costs_no_answer_and_one_that_may_not_be_deleted_no_removal(
    enrolled: Path, run: Run, forbid: Callable[[Path, int], None]
) -> None:
    before = listing(enrolled)
    user = as_an_ordinary_user()
    forbid(enrolled / "index", 0o000)
    found = run("identify", EXAMPLES / "ana_1.wav", "--threshold", "2", "--json", before=user)
    assert (found.returncode, found.stderr) == (0, "")
    assert json.loads(found.stdout)["speaker"] == "ana"
    assert_refused(run("remove", "ana", before=user), 5, "index")
    (enrolled / "index").chmod(0o700)
    assert listing(enrolled) == before


def test_a_recording_that_may_not_be_read_says_so(
    tmp_path: Path, enrolled: Path, run: Run, forbid: Callable[[Path, int], None]
) -> None:
    before = listing(enrolled)
    clip = shutil.copy(EXAMPLES / "eva_1.wav", tmp_path / "secret.wav")
    user = as_an_ordinary_user()
    forbid(clip, 0o000)
    assert_refused(run("enroll", "zoe", clip, before=user), 3, "cannot be opened (Permission denied)")
    assert listing(enrolled) == before


def test_a_gallery_cannot_be_made_where_nothing_may_be_written(
    tmp_path: Path, run: Run, capfd: pytest.CaptureFixture[str], forbid: Callable[[Path, int], None]
) -> None:
    parent = tmp_path / "locked"
    parent.mkdir()
    user = as_an_ordinary_user()
    forbid(parent, 0o500)
    clip = EXAMPLES / "eva_1.wav"
    assert_refused(run("enroll", "zoe", clip, "--gallery", parent / "people", before=user), 5, "cannot be written")
    for options, says in (
        (["--gallery", clip], "choose another folder with --gallery"),
        (["--gallery", clip / "a\nb"], r"a\nb"),
        (["--gallery", tmp_path / "people", "--encoder", "gone"], "encoder bundle gone: no such bundle"),
        (["--gallery", "x" * 5000], "File name too long"),
    ):
        code, out, err = run_here(capfd, "enroll", "zoe", clip, *options)
        assert (code, out) == (5, "")
        assert says in only_line(err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["locked"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB at `gallery_folder`'s place."""
    folder = tmp_path / "people"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs Linux and root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, left_bytes: int) -> None:
    """Take what the disk has but for some bytes."""
    with (folder / "filler").open("wb") as file:
        free = os.statvfs(folder)
        file.write(bytes(max(0, free.f_bavail * free.f_frsize - left_bytes)))
    (folder / "filler").chmod(0o600)


@pytest.mark.parametrize("left_kib", [0, 48, 96])
def test_a_full_disk_is_told_and_the_gallery_stays_as_it_was(
    left_kib: int, enrolled_once: Path, small_disk: Path, run: Run
) -> None:
    shutil.copytree(enrolled_once, small_disk, dirs_exist_ok=True)
    before = listing(small_disk)
    fill(small_disk, left_kib << 10)
    clips = [EXAMPLES / f"{name}_{number}.wav" for name in ("eva", "kal", "rms") for number in (1, 2, 3, 4)]
    done = run("enroll", "zoe", *clips, "--force")
    if done.returncode == 0:
        assert left_kib >= 64, "the last case is there to show that the disk was full before"
    else:
        assert_refused(done, 5, "no space left for")
    (small_disk / "filler").unlink()
    names = [speaker.speaker for speaker in listing(small_disk)]
    assert names == (["ana", "ben", "zoe"] if done.returncode == 0 else ["ana", "ben"])
    if done.returncode:
        assert listing(small_disk) == before
        with Gallery.open(small_disk) as gallery:
            assert len(gallery.enroll("zoe", clips, force=True).enrolled) == len(clips)


def test_a_list_on_a_disk_that_fills_up_is_told_with_what_is_enrolled_and_gone_on_with(
    small_disk: Path, known_voices, tmp_path: Path
) -> None:
    names = [f"person {number}" for number in range(2000)]
    (tmp_path / "people.tsv").write_text("".join(f"{name}\t{name}.wav\n" for name in names))
    with Gallery.open(small_disk, encoder=known_voices, index="numpy") as gallery:
        with pytest.raises(GalleryFull, match=r"not written; (\d+) recordings are enrolled, the same call") as caught:
            gallery.enroll_manifest(tmp_path / "people.tsv", force=True)
        enrolled = caught.value.fields["recordings"]
        assert 0 < enrolled == len(gallery.speakers()) < len(names)


def test_a_gallery_cannot_be_begun_on_a_full_disk_and_can_once_there_is_room(small_disk: Path, run: Run) -> None:
    fill(small_disk, 0)
    assert_refused(run("enroll", "zoe", EXAMPLES / "eva_1.wav"), 5, "no space left for")
    (small_disk / "filler").unlink()
    with Gallery.open(small_disk) as gallery:
        gallery.enroll("zoe", EXAMPLES / "eva_1.wav")
    assert [speaker.speaker for speaker in listing(small_disk)] == ["zoe"]


def test_a_removal_on_a_disk_with_no_room_to_write_the_file_anew_leaves_the_room_and_no_voice(
    enrolled_once: Path, small_disk: Path, known_voices
) -> None:
    from known_voices import voice as known_voice

    with Gallery.open(small_disk, encoder=known_voices, index="numpy") as gallery:
        for name in ("ana", "ben"):
            gallery.enroll(name, [f"{name} {number}" for number in range(120)])
        gallery._existing().truncate_wal()
        fill(small_disk, 200 << 10)
        assert not gallery.remove("ana").log_erased  # the file could not be written anew
        free = os.statvfs(small_disk)
        assert free.f_bavail * free.f_frsize >= 150 << 10
        pieces = [known_voice(f"ana {number}").astype("<f4").tobytes() for number in range(120)]
        for path in small_disk.iterdir():
            content = path.read_bytes() if path.is_file() else b""
            assert not any(piece in content for piece in pieces), path.name
        (small_disk / "filler").unlink()
        assert gallery.check().findings == []


@pytest.mark.parametrize("memory", [False, True], ids=["copied", "in use"])
def test_a_read_only_gallery_with_an_empty_log_is_read(
    enrolled_once: Path, small_disk: Path, run: Run, memory: bool
) -> None:
    shutil.copytree(enrolled_once, small_disk, dirs_exist_ok=True)
    for suffix in ("-wal", "-shm") if memory else ("-wal",):
        (small_disk / f"gallery.sqlite{suffix}").touch(0o600)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for arguments in (["identify", EXAMPLES / "ana_4.wav"], ["speakers"], ["check"]):
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)


def test_a_disk_that_is_mounted_read_only_is_told_and_its_gallery_answers(
    enrolled_once: Path, small_disk: Path, run: Run
) -> None:
    shutil.copytree(enrolled_once, small_disk, dirs_exist_ok=True)
    before = listing(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert_refused(run("enroll", "zoe", EXAMPLES / "eva_1.wav"), 5, "cannot be written")
    assert_refused(run("remove", "ana", "--json"), 5)
    for arguments in (["identify", EXAMPLES / "ana_4.wav"], ["verify", "ana", EXAMPLES / "ana_4.wav"], ["speakers"]):
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "ana" in done.stdout
    assert run("check").stdout.endswith("sound\n")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert listing(small_disk) == before


@pytest.mark.parametrize("largest_bytes", [512, 40_960])
def test_a_limit_on_the_size_of_files_is_an_error_of_the_disk(largest_bytes: int, enrolled: Path, run: Run) -> None:
    if os.name == "nt":
        pytest.skip("Windows knows no such limit")
    limited = (
        f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_bytes}, {largest_bytes})); "
    )
    limited += "os.execv(sys.argv[1], sys.argv[1:])"
    before = listing(enrolled)
    clips = [EXAMPLES / f"{name}_{number}.wav" for name in ("eva", "kal", "rms") for number in (1, 2, 3, 4)]
    done = run("enroll", "zoe", *clips, "--force", before=[sys.executable, "-c", limited])
    assert_refused(done, 5, "gallery.sqlite")
    assert listing(enrolled) == before


def test_a_stdout_that_cannot_be_written_is_told_and_one_that_went_away_is_not(enrolled: Path, run: Run) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = run("speakers", stdout=full)
    assert_refused(done, 5, "stdout: No space left on device")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        done = run("identify", EXAMPLES / "ben_2.wav", "--threshold", "0", stdout=gone)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_gallery_of_random_bytes_is_damaged_and_stays(enrolled: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (enrolled / "gallery.sqlite").write_bytes(noise(8192))
    for command in (["speakers"], ["identify", EXAMPLES / "ana_1.wav"], ["check"], ["db", "upgrade"]):
        code, out, err = run_here(capfd, *command, "--gallery", enrolled)
        assert (code, out) == (5, "")
        assert "is damaged" in only_line(err)
    assert (enrolled / "gallery.sqlite").read_bytes() == noise(8192)


def test_a_locked_gallery_waits_and_says_so_and_is_read_meanwhile(
    enrolled: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settings, "BUSY_TIMEOUT_S", 0.2)
    before = listing(enrolled)
    clip = EXAMPLES / "eva_1.wav"
    other = sqlite3.connect(enrolled / "gallery.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Gallery.open(enrolled) as gallery:
        for change in (lambda: gallery.enroll("zoe", clip), lambda: gallery.remove("ana")):
            with pytest.raises(GalleryLocked, match="locked by another process"):
                change()
        assert gallery.nearest(gallery.encoder.embed(EXAMPLES / "ana_1.wav"))[0].speaker == "ana"
        code, out, err = run_here(capfd, "rename", "ana", "zoe", "--gallery", enrolled, "--json")
        assert (code, out) == (5, "")
        assert "locked by another process (waited 0.2 s); try again" in only_line(err, as_json=True)
        other.execute("ROLLBACK")
        other.close()
        assert gallery.enroll("zoe", clip).new_speaker
    assert [speaker for speaker in listing(enrolled) if speaker.speaker != "zoe"] == before


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_enrollment_exits_with_130_and_writes_nothing(enrolled: Path, sent: signal.Signals) -> None:
    before = listing(enrolled)
    command = [sys.executable, "-m", "speakerdb.cli.main", "enroll", "zoe", "-", "--gallery", str(enrolled)]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # and some shells block it altogether
    own = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it, and so
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)  # do its children
    signal.signal(signal.SIGINT, own)
    with process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(encoded(np.tile(voice(), 20), "WAV"))  # more than a pipe holds: it is being read
        process.stdin.flush()
        for _ in range(6):
            time.sleep(0.5)  # Python notices a signal within a read that waits, not between two reads of a pipe
            process.send_signal(sent)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
                break
        process.kill()  # where it did not listen
        line = only_line(process.stderr.read().decode())
        assert (process.returncode, line) == (
            130,
            "interrupted; what was finished until then stays, and nothing is half there",
        )
    assert listing(enrolled) == before
