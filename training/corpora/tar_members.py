"""The members of a tar one after the other, in bounded memory; nothing is ever unpacked."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

Content = Callable[[], bytes]

DAMAGE = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error)
"""What reading a damaged archive raises."""

TAR_ENDINGS = (".tar.gz", ".tgz", ".tar")


def stem_of_tar(path: Path) -> str:
    """The file's name without `.tar` or `.tar.gz`."""
    ending = next(ending for ending in TAR_ENDINGS if path.name.endswith(ending))
    return path.name.removesuffix(ending)


def is_tar(path: Path) -> bool:
    """Whether the name is a tar's."""
    return path.name.endswith(TAR_ENDINGS)


def members(archive: Path) -> Iterator[tuple[str, Content]]:
    """Name of every regular file, and a function that reads it, to be called before the next one is asked for.

    Raises: ValueError that names an archive which is cut, damaged or no tar.
    """
    try:
        # A plain tar is sought through, so that what is not read costs nothing; a compressed one is a stream.
        mode = "r:" if archive.suffix == ".tar" else "r|gz"
        with tarfile.open(archive, mode) as tar:
            end = 0
            for member in tar:
                tar.members = []  # TarFile would remember every one of them
                if not member.isfile():
                    continue
                end = member.offset_data + member.size
                yield member.name, partial(_read, archive, tar, member)
            if mode == "r:" and archive.stat().st_size < end:
                raise tarfile.ReadError("the last clip is not whole")
    except DAMAGE as error:
        raise _damaged(archive, error) from error


def _read(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None  # a regular file always has content
    try:
        return file.read()
    except DAMAGE as error:
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> ValueError:
    return ValueError(f"{archive}: cut or damaged, or no tar ({error})")
