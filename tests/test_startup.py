"""What the program imports, and how soon it answers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

HEAVY = ("numpy", "onnxruntime", "sqlalchemy", "sqlalchemy.orm", "faiss", "rich", "alembic", "av", "soundfile")


def test_help_imports_nothing_heavy() -> None:
    assert _imported_by("--help") == set()


def test_verify_imports_neither_search_nor_migrations(enrolled: Path, examples: Path) -> None:
    arguments = ["verify", "ana", str(examples / "ana_3.wav"), "--gallery", str(enrolled)]
    assert _imported_by(*arguments) & {"sqlalchemy.orm", "faiss", "alembic", "rich", "av"} == set()


def test_help_answers_within_twice_the_import_of_click_and_a_tenth_of_a_second() -> None:
    help_s = min(_seconds("-m", "speakerdb.cli.main", "--help") for _ in range(7))
    click_s = min(_seconds("-c", "import click") for _ in range(7))
    assert help_s <= 2.0 * click_s + 0.1


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
