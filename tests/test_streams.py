"""What goes to stdout, stderr and score files: all of it, whatever the names, the terminal and the encoding."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from twelve_people import posix

from speakerdb import Gallery

NAME = "José 😀"


@pytest.fixture
def jose(gallery_folder: Path, examples: Path) -> Path:
    with Gallery.open(gallery_folder) as gallery:
        gallery.enroll(NAME, examples / "ana_1.wav")
    return gallery_folder


@pytest.mark.parametrize("encoding", ["cp1252", "cp1251", "ascii", "utf-8"])
def test_json_is_json_in_every_encoding(jose: Path, monkeypatch: pytest.MonkeyPatch, run, encoding: str) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    done = run("speakers", "--json", text=False, encoding=None)
    assert [one["speaker"] for one in json.loads(done.stdout.decode(encoding))] == [NAME]
    failed = run("rename", "nobody 😀", "b", "--json", text=False, encoding=None)
    assert "nobody" in json.loads(failed.stderr.decode(encoding))["message"]


@posix
def test_without_a_stderr_there_is_an_answer_all_the_same(enrolled: Path, examples: Path, gallery_folder: Path) -> None:
    command = [sys.executable, "-m", "speakerdb.cli.main", "verify", "ana", str(examples / "ana_4.wav")]
    line = " ".join(f"'{word}'" for word in command)
    environment = os.environ | {"SPEAKERDB_GALLERY": str(gallery_folder)}
    done = subprocess.run(
        ["sh", "-c", f"{line} 2>&-"], stdout=subprocess.PIPE, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0 and "accepted" in done.stdout


def test_every_refusal_is_told_while_others_are_decoded(enrolled: Path, examples: Path, tmp_path: Path, run) -> None:
    import soundfile

    calls = tmp_path / "calls"
    calls.mkdir()
    samples, rate = soundfile.read(examples / "ana_4.wav")
    for number in range(12):  # libmpg123 writes to stderr by itself, which is shut for it
        soundfile.write(calls / f"{number:02d}.mp3", samples, rate, format="MP3")
        (calls / f"{number:02d} broken.wav").write_bytes(b"no sound")
    done = run("identify", "--manifest", calls)
    assert (done.returncode, len(done.stdout.splitlines())) == (3, 12)
    assert sum("not audio that can be read" in line for line in done.stderr.splitlines()) == 12


@posix
def test_a_name_of_undecodable_bytes_stands_in_a_score_file_as_percent_and_digits(
    enrolled: Path, examples: Path, tmp_path: Path, run
) -> None:
    (tmp_path / "calls").mkdir()
    shutil.copy(examples / "ana_4.wav", os.fsencode(tmp_path / "calls") + b"/caf\xe9.wav")
    done = run("identify", "--manifest", tmp_path / "calls", "--scores", tmp_path / "scores")
    assert done.returncode == 0
    assert {line.split()[1].rsplit("/", 1)[1] for line in (tmp_path / "scores").read_text().splitlines()} == {
        "caf%E9.wav"
    }


@pytest.mark.parametrize("wrong", [["missing.txt"], ["claims.txt", "--fmr", "2"]])
def test_a_score_file_is_not_emptied_for_a_list_that_cannot_be_answered(
    enrolled: Path, examples: Path, tmp_path: Path, run, wrong: list[str]
) -> None:
    (tmp_path / "scores").write_text("last month's")
    (tmp_path / "claims.txt").write_text(f"ana\t{examples / 'ana_4.wav'}\n")
    done = run("verify", "--trials", tmp_path / wrong[0], *wrong[1:], "--scores", tmp_path / "scores")
    assert done.returncode == 3
    assert (tmp_path / "scores").read_text() == "last month's"


@posix
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["identify", "nothing.wav"], 3),
        (["verify", "--bogus"], 2),
        (["enroll", "--keep-going", "eva", "eva_1.wav", "nothing.wav"], 3),
        (["identify", "--manifest", "calls.txt"], 3),
    ],
)
def test_a_stderr_that_takes_nothing_changes_no_exit_code_and_stops_no_list(
    enrolled: Path, examples: Path, tmp_path: Path, run, words: list[str], code: int
) -> None:
    (tmp_path / "calls.txt").write_text(f"{tmp_path / 'nothing.wav'}\n{examples / 'ana_4.wav'}\n")
    shutil.copy(examples / "eva_1.wav", tmp_path)
    done = run(*words, cwd=tmp_path, before=["sh", "-c", '"$@" 2>/dev/full', "sh"])
    assert done.returncode == code
    assert len(done.stdout.splitlines()) == (words[0] == "enroll" or "calls.txt" in words)


@posix
@pytest.mark.parametrize("words", [["--help"], ["identify", "--help"], ["--version"]])
def test_help_that_cannot_be_written_is_one_line_and_exit_code_5(run, words: list[str]) -> None:
    done = run(*words, before=["sh", "-c", '"$@" >/dev/full', "sh"])
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert "stdout: No space left on device" in done.stderr


@posix
def test_a_list_is_answered_without_a_stdout_on_a_terminal_too(
    enrolled: Path, examples: Path, tmp_path: Path, gallery_folder: Path
) -> None:
    import pty

    (tmp_path / "calls.txt").write_text(f"{examples / 'ana_4.wav'}\n")
    terminal, other_end = pty.openpty()
    words = f"-m speakerdb.cli.main identify --manifest '{tmp_path}/calls.txt' --scores '{tmp_path}/scores'"
    done = subprocess.run(
        ["sh", "-c", f"'{sys.executable}' {words} >&-"],
        stderr=other_end,
        env=os.environ | {"SPEAKERDB_GALLERY": str(gallery_folder)},
        timeout=120,
        check=False,
    )
    os.close(terminal)
    assert done.returncode == 0
    assert (tmp_path / "scores").read_text()


def test_scores_are_not_written_over_the_list_that_is_read(enrolled: Path, examples: Path, tmp_path: Path, run) -> None:
    claims = tmp_path / "claims.txt"
    claims.write_text(f"ana\t{examples / 'ana_4.wav'}\n")
    for command, option in (("verify", "--trials"), ("identify", "--manifest")):
        done = run(command, option, claims, "--scores", claims)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert claims.read_text() == f"ana\t{examples / 'ana_4.wav'}\n"


@pytest.mark.skipif(not Path("/dev/stdin").exists(), reason="this system names no open files by path")
@pytest.mark.parametrize(
    ("order", "line"),
    [
        (["identify", "--manifest"], "ana_4.wav\n"),
        (["verify", "--trials"], "ana\tana_4.wav\n"),
        (["verify", "--trials"], "1 ana ana_4.wav\n"),
        (["enroll", "--manifest"], "ana\tana_4.wav\n"),
    ],
)
def test_the_paths_of_a_list_that_comes_through_a_pipe_lie_where_the_command_runs(
    enrolled: Path, examples: Path, run, order: list[str], line: str
) -> None:
    done = run(*order, "/dev/stdin", stdin=None, input=line, cwd=examples)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ana" in done.stdout or "1 recording" in done.stdout


@posix
@pytest.mark.parametrize("order", ["backup", "export"])
def test_a_copys_name_of_control_characters_is_told_in_one_line(
    enrolled: Path, tmp_path: Path, run, order: str
) -> None:
    done = run(order, tmp_path / "a\n\x1b[1mb")
    assert (done.returncode, done.stderr) == (0, "")
    [line] = done.stdout.splitlines()
    assert line.isprintable()
    assert (tmp_path / "a\n\x1b[1mb").exists()


@posix
def test_a_picture_may_be_of_any_name(enrolled: Path, examples: Path, tmp_path: Path, run) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra plot)")
    for name in (b"a$\\foo$.wav", b"caf\xe9.wav"):
        clip = os.fsencode(tmp_path) + b"/" + name
        shutil.copy(examples / "ana_4.wav", clip)
        done = run("verify", "ana", clip, "--plot", tmp_path / "picture.png")
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "picture.png").stat().st_size > 10_000
