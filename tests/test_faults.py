"""What goes wrong in the program itself, or on the way to it, is never an answer."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from speakerdb import Gallery
from speakerdb.cli.main import main
from speakerdb.gallery.gallery import Gallery as Opened

NO_SUCH_OPTION = re.compile(r"No such option:? '?-+\w+'?")
"""As click's versions say it."""


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, enrolled_once: Path):
    """The program in this process on a gallery with ana in it: exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["speakerdb", *map(str, arguments), "--gallery", str(enrolled_once)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        return (int(stopped.value.code or 0), *capfd.readouterr())

    return run


def test_a_fault_of_the_program_is_not_the_exit_code_of_a_no(command, examples: Path, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Opened, "verify", broken)
    code, out, err = command("verify", "ana", examples / "ana_4.wav")
    assert (code, out) == (70, "")
    assert "ZeroDivisionError: a bug" in err and err.splitlines()[-1].startswith("speakerdb: a fault of the program")


@pytest.mark.parametrize("words", [("verify", "ana"), ("identify",)], ids=lambda words: words[0])
def test_without_matplotlib_a_picture_is_refused_before_anything_is_heard(
    command, words: tuple[str, ...], tmp_path: Path, monkeypatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name))
    code, out, err = command(*words, tmp_path / "not there.wav", "--plot", tmp_path / "a.png")
    assert (code, out) == (3, "")
    assert err == "speakerdb: matplotlib is not installed; run: pip install 'speakerdb[plot]'\n"


def test_a_file_in_the_place_of_a_name_is_refused(command, examples: Path) -> None:
    code, _, err = command("enroll", examples / "ben_1.wav", examples / "ben_2.wav")
    assert code == 2 and "is a file; the speaker's name comes first" in err


def test_a_recording_before_the_name_it_is_held_to_is_told_as_such(command, examples: Path, tmp_path: Path) -> None:
    code, _, err = command("verify", examples / "ana_4.wav", "ana")
    assert code == 2 and "ana_4.wav is a file; the speaker's name comes first: verify NAME FILE" in err
    code, _, err = command("verify", tmp_path / "nobody", examples / "ana_4.wav")
    assert code == 4 and "no speaker named" in err


def test_a_name_that_begins_with_a_dash_is_told_where_to_stand(command) -> None:
    code, _, err = command("remove", "-x")
    told = "; a name or file that begins with a dash stands behind --. See `speakerdb remove --help`\n"
    assert (code, err) == (2, f"speakerdb: {NO_SUCH_OPTION.search(err).group()}{told}")
    err = command("speakers", "--jso")[2]
    assert NO_SUCH_OPTION.search(err) and "--json" in err and "behind --" not in err
    assert err.endswith(" See `speakerdb speakers --help`\n")


def test_what_is_refused_of_a_list_says_whose_it_was_said_to_be(command, tmp_path: Path) -> None:
    (tmp_path / "claims.tsv").write_text("ana\tnot there.wav\nben\tnot there.wav\n")
    _, out, _ = command("verify", "--trials", tmp_path / "claims.tsv", "--json")
    assert [json.loads(line)["speaker"] for line in out.splitlines()] == ["ana", "ben"]
    with Gallery.open(tmp_path / "people") as gallery:
        done = gallery.enroll_manifest(tmp_path / "claims.tsv")
    assert [refused.speaker for refused in done.refused] == ["ana", "ben"]


def test_answers_to_a_list_name_recordings_by_their_paths(command, examples: Path, tmp_path: Path) -> None:
    (tmp_path / "calls.txt").write_text(f"{examples}/ana_4.wav\n")
    _, out, _ = command("identify", "--manifest", tmp_path / "calls.txt")
    assert out.split()[1] == f"{examples}/ana_4.wav"


def test_the_program_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "speakerdb", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("Usage: speakerdb")
