"""What every command has: help with an example, JSON, late imports, and an answer at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from speakerdb.cli.main import COMMANDS, speakerdb

HEAVY = ("numpy", "onnxruntime", "sqlalchemy", "faiss", "rich", "alembic", "av", "soundfile")


def _commands(group: click.Group = speakerdb) -> Iterator[click.Command]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command)
        else:
            yield command


@pytest.mark.parametrize("command", list(_commands()), ids=lambda command: str(command.name))
def test_every_command_explains_itself_with_an_example_and_speaks_json(command: click.Command) -> None:
    assert "Example:" in (command.help or "")
    assert "--json" in {option for parameter in command.params for option in parameter.opts}


def test_help_lists_every_command(run) -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    assert _imported_by("--help") == set()


def test_verify_imports_neither_search_nor_migrations(enrolled: Path, examples: Path) -> None:
    arguments = ["verify", "ana", str(examples / "ana_3.wav"), "--gallery", str(enrolled)]
    assert _imported_by(*arguments) & {"faiss", "alembic", "rich", "av"} == set()


def test_help_answers_within_twice_the_import_of_click_and_a_tenth_of_a_second() -> None:
    help_s = min(_seconds("-m", "speakerdb.cli.main", "--help") for _ in range(7))
    click_s = min(_seconds("-c", "import click") for _ in range(7))
    assert help_s <= 2.0 * click_s + 0.1


def test_the_main_job_in_json(run, examples: Path) -> None:
    clips = [examples / f"eva_{i}.wav" for i in (1, 2, 3)]
    enrolled = json.loads(run("enroll", "eva", *clips, "--json").stdout)
    assert (enrolled["speaker"], enrolled["new_speaker"], enrolled["total"]) == ("eva", True, 3)
    found = run("identify", examples / "eva_4.wav", "--json")
    assert (found.returncode, json.loads(found.stdout)["speaker"]) == (0, "eva")
    denied = run("verify", "eva", examples / "kal_4.wav", "--json")
    assert (denied.returncode, json.loads(denied.stdout)["accepted"]) == (1, False)
    unknown = run("identify", examples / "stranger_1.wav", "--json")
    assert (unknown.returncode, json.loads(unknown.stdout)["speaker"]) == (1, None)
    assert json.loads(run("speakers", "--json").stdout)[0]["enrollments"] == 3
    assert json.loads(run("check", "--json").stdout)["findings"] == []
    assert json.loads(run("rename", "eva", "Eva", "--json").stdout) == {"before": "eva", "after": "Eva"}
    assert json.loads(run("remove", "Eva", "--json").stdout)["speaker_removed"] is True


def _imported_by(*arguments: str) -> set[str]:
    code = (
        "import sys, json\n"
        "from speakerdb.cli.main import main\n"
        f"sys.argv = ['speakerdb', *{list(arguments)!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1])) & set(HEAVY)


def _seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    return time.perf_counter() - began
