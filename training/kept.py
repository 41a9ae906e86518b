"""Files that can be made again, and reading back what a power cut or a full disk may have left cut.

What can be made again is made anew (`kept`); what cannot stops the command, with a line that says what to do (`whole`).
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from rich.console import Console

from speakerdb.errors import printable

Found = TypeVar("Found")

DAMAGE: tuple[type[Exception], ...] = (
    *(ValueError, LookupError, TypeError, AttributeError),  # of JSON, and of what it should hold
    *(EOFError, zipfile.BadZipFile),  # of NumPy's files
    *(RuntimeError, pickle.UnpicklingError),  # of PyTorch's and HDF5
    FileNotFoundError,  # of a part of it
)
"""What reading a file raises that is cut or written over. A disk that fails raises others: nothing is made anew."""


def kept(file: Path, read: Callable[[Path], Found], console: Console) -> Found | None:
    """What a file holds that can be made again; None where it is not there or, which a line says, damaged."""
    if not file.exists():
        return None
    try:
        return read(file)
    except DAMAGE as error:
        console.print(f"{damaged(file, error)}; it is made anew", highlight=False, soft_wrap=True)
        return None


def whole(file: Path, read: Callable[[Path], Found], way_out: str, more: tuple[type[Exception], ...] = ()) -> Found:
    """What a file holds that cannot be made again.

    Args: more: what else reading it raises where it is damaged.
    Raises: ValueError, one line, which ends with the way out.
    """
    try:
        return read(file)
    except (*DAMAGE, *more) as error:
        raise ValueError(f"{damaged(file, error)}; {way_out}") from error


def read_arrays(file: Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an .npz file, in the order in which they were written. Raises: one of `DAMAGE`."""
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:  # alone it leaves a cut file open
        return {name: stored[name] for name in stored.files}


def write_arrays(file: Path, **arrays: npt.ArrayLike) -> None:
    """What `read_arrays` reads, whole or not at all: a kill leaves what was there before, and a part beside it."""
    partial = file.with_name(f"{file.name}.partial")
    with partial.open("wb") as opened:
        np.savez(opened, **arrays)  # type: ignore[arg-type]  # NumPy's stubs take them for its one option
    partial.replace(file)


def damaged(file: Path, error: Exception) -> str:
    """Which file, and how that was found out."""
    state = "damaged or cut" if file.exists() else "missing"
    return f"{file}: {state} ({type(error).__name__}: {printable(str(error).strip().partition(chr(10))[0])})"
