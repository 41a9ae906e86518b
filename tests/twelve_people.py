"""A gallery of twelve random voices, what it should hold, and ways at its file beside the program."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from known_voices import voice

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no modes and no umask")

NEAR = 1.2
"""Random voices lie 1.41 from one another, and 0.9 from the voiceprint of three of which they are one."""

PEOPLE = {f"person {letter}": [f"{letter}{number}" for number in range(1 + rank % 3)]
          for rank, letter in enumerate("abcdefghijkl")}  # fmt: skip

COUNTS = """SELECT (SELECT count(*) FROM speaker), (SELECT count(*) FROM enrollment),
                   (SELECT count(*) FROM voiceprint)"""


def voiceprint(name: str) -> np.ndarray:
    """What the gallery should hold of one of PEOPLE, worked out here."""
    mean = np.mean([voice(recording).astype(float) for recording in PEOPLE[name]], axis=0)
    return mean / np.linalg.norm(mean)


def stored(vector: np.ndarray) -> bytes:
    """As it lies in the file."""
    return vector.astype("<f4").tobytes()


def rows(path: Path, statement: str) -> list[tuple]:
    """What another program reads from the file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def change(path: Path, *statements: str) -> None:
    """What another program writes into the file."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
