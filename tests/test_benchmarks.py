"""Benchmarks start as their README types them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
FOLDER = PROJECT / "benchmarks"
NAMES = sorted(path.stem for path in [*FOLDER.glob("*.py"), *(main.parent for main in FOLDER.glob("*/__main__.py"))])

pytest.importorskip("tensorflow", reason="some benchmarks train (the extra train)")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_starts_from_the_checkouts_root_and_is_in_the_readme(name):
    command = f"python -m benchmarks.{name}"
    assert command in (FOLDER / "README.md").read_text(encoding="utf8")
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--help"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert command in done.stdout
