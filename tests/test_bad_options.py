"""Options and paths that cannot be used: one line, the right exit code, and nothing is written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from handed_in import EXAMPLES, only_line, run_here

from speakerdb.cli.output import counted, percent, shown_size

CLIP = EXAMPLES / "ana_4.wav"


@pytest.mark.parametrize(
    "words",
    [
        ("enroll", "--manifest", ""),
        ("identify", "--manifest", ""),
        ("identify", "--manifest", CLIP, "--scores", ""),
        ("verify", "--trials", ""),
        ("identify", CLIP, "--plot", ""),
        ("speakers", "--gallery", ""),
        ("speakers", "--encoder", ""),
        ("calibrate", "--trials", ""),
        ("encoder", "add", "mine", ""),
    ],
)
def test_an_empty_path_is_a_mistake_and_not_the_folder_one_stands_in(
    words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "clip.wav").write_bytes(CLIP.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPEAKERDB_GALLERY", str(tmp_path / "people"))
    code, out, err = run_here(capfd, *words)
    assert (code, out) == (2, "")
    assert "empty" in only_line(err)
    assert not (tmp_path / "people").exists()


def test_an_empty_recording_is_told_as_such(enrolled: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for words in (("identify", ""), ("compare", CLIP, ""), ("enroll", "zoe", "")):
        code, out, err = run_here(capfd, *words, "--gallery", enrolled)
        assert (code, out) == (3, "")
        assert "the path of a recording is empty" in only_line(err)


@pytest.mark.parametrize("name", ["p.xyz", "p.txt", "p"])
def test_a_picture_of_a_kind_that_nobody_draws_is_refused_first(
    enrolled: Path, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_here(capfd, "identify", CLIP, "--plot", tmp_path / name, "--gallery", enrolled)
    assert (code, out, (tmp_path / name).exists()) == (2, "", False)
    assert "ends in .png, .svg, .pdf" in only_line(err)


def test_a_file_in_a_gallerys_place_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    for words in (("speakers",), ("identify", CLIP), ("enroll", "zoe", CLIP)):
        code, out, err = run_here(capfd, *words, "--gallery", CLIP)
        assert (code, out) == (5, "")
        assert "ana_4.wav: a file, and a gallery is a folder" in only_line(err)


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
@pytest.mark.parametrize("target", ["nothing", "people"], ids=["to nothing", "to itself"])
def test_a_link_to_no_folder_in_a_gallerys_place_is_told(
    tmp_path: Path, target: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "people").symlink_to(tmp_path / target)
    for words in (("speakers",), ("enroll", "zoe", CLIP)):
        code, out, err = run_here(capfd, *words, "--gallery", tmp_path / "people")
        assert (code, out) == (5, "")
        assert "people: a link that leads to no folder, and a gallery is a folder" in only_line(err)
    assert not (tmp_path / "nothing").exists()


def test_what_is_no_archive_is_told_by_its_own_name(
    enrolled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for file, says in ((tmp_path / "gone.speakerdb", "No such file"), (CLIP, "not an archive")):
        code, out, err = run_here(capfd, "import", file, "--gallery", enrolled)
        assert (code, out) == (3, "")
        assert f"{file}: {says}" in only_line(err)


@pytest.mark.skipif(os.name != "posix", reason="SIGINT is POSIX's")
def test_what_was_enrolled_by_an_interrupted_manifest_stays_and_the_line_says_so(
    examples: Path, tmp_path: Path
) -> None:
    folder, table = tmp_path / "gallery", tmp_path / "people.tsv"
    clips = sorted(examples.glob("*.wav"))
    lines = [f"speaker {copy}\t{clip}" for copy in range(40) for clip in [clips[copy % len(clips)]]]
    for number, line in enumerate(lines):  # each another sound: no recording is enrolled twice
        name, path = line.split("\t")
        copied = tmp_path / f"{number}.wav"
        content = bytearray(Path(path).read_bytes())
        content[-2:] = number.to_bytes(2, "little")
        copied.write_bytes(content)
        lines[number] = f"{name}\t{copied}"
    table.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "speakerdb.cli.main", "enroll", "--force", "--json", "--manifest", str(table)]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    own = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen([*command, "--gallery", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one:
        signal.signal(signal.SIGINT, own)
        give_up = time.monotonic() + 60
        while not (folder / "gallery.sqlite").exists() and one.poll() is None and time.monotonic() < give_up:
            time.sleep(0.01)
        one.send_signal(signal.SIGINT)
        _, err = one.communicate(timeout=60)
    if one.returncode == 0:
        pytest.skip("it was done before it was interrupted")
    told = json.loads(err)
    assert (one.returncode, told["error"], told["exit_code"]) == (130, "Interrupted", 130)
    assert "what was finished until then stays" in told["message"]


@pytest.mark.skipif(os.name != "posix", reason="SIGHUP is POSIX's")
def test_a_command_that_nohup_started_outlives_the_terminal(enrolled: Path) -> None:
    words = [sys.executable, "-m", "speakerdb.cli.main", "enroll", "zoe", "-", "--gallery", str(enrolled)]
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as one:
        for _ in range(4):
            time.sleep(0.4)
            one.send_signal(signal.SIGHUP)
        _, err = one.communicate(b"not audio", timeout=60)
    assert (one.returncode, "not audio" in only_line(err.decode())) == (3, True)


def test_counts_shares_and_sizes_are_shown_as_people_write_them() -> None:
    assert [counted(number, "recording") for number in (0, 1, 2)] == ["0 recordings", "1 recording", "2 recordings"]
    assert [percent(share) for share in (0.0, 0.00123, 0.034, 0.0996, 0.56, 1.0)] == [
        "0",
        "0.12",
        "3.4",
        "10",
        "56",
        "100",
    ]
    assert [shown_size(size) for size in (9_000, 1_200_000)] == ["9.0 kB", "1.2 MB"]
