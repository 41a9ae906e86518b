"""What tells a corpus from another, and whether it has changed: by what is in it, or by its files' sizes and times.

By what is in it where it is read through anyway, and is gone through again and again: what was made of an archive stays
true however it is mounted, and an archive that changed is never taken for the one before. By sizes and times where
reading would take as long as the work itself: releases of a hundred gigabytes, folders of a hundred thousand files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path


def file_hash(path: Path) -> str:
    """A file's SHA-256, in hexadecimal; it is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_of(path: Path) -> str:
    """As `file_hash`; a file that nobody touches is read once a process."""
    found = path.stat()
    return _content(path, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


@lru_cache(maxsize=1024)
def _content(path: Path, _: tuple[int, ...]) -> str:
    return file_hash(path)


def fingerprint_of(path: Path) -> str:
    """A file's size and time."""
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def fingerprint_of_all(folder: Path, files: Iterable[Path]) -> str:
    """Of those files that are there, by their paths from the folder, however that is spelled, their sizes and times.

    Another recording under the same name is another source.
    """
    digest = hashlib.sha256()
    for path, file in sorted((os.path.relpath(file, folder), file) for file in files if file.is_file()):
        digest.update(f"{path} {fingerprint_of(file)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
