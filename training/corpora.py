"""Corpora → clips: a tar with one member a clip, and the table beside it.

`NAME.tar` holds `SPEAKER/CLIP.EXT`; `NAME.tsv` has the columns path, speaker, language, sex and seconds (noise:
path, corpus, kind). Speaker ids carry their corpus's prefix, so they are unique across corpora.
"""

from __future__ import annotations

import csv
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Clip:
    """One recording of a corpus, as released (encoded bytes), with what its table says."""

    path: str
    speaker: str
    corpus: str
    language: str
    sex: str
    audio: bytes

    @property
    def name(self) -> str:
        """`SPEAKER/CLIP` without the extension, as teachers' vectors are keyed."""
        return self.path.rsplit(".", 1)[0]


def read_table(archive: Path) -> dict[str, dict[str, str]]:
    """The table beside an archive, by path. Raises ValueError where it names a path twice."""
    with archive.with_suffix(".tsv").open(encoding="utf8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    table = {row["path"]: row for row in rows}
    if len(table) != len(rows):
        raise ValueError(f"{archive.with_suffix('.tsv')}: a path stands twice")
    return table


def read_clips(archive: Path) -> Iterator[Clip]:
    """The clips of an archive in the tar's order, one at a time.

    Raises: ValueError where tar and table do not name the same clips.
    """
    table = read_table(archive)
    seen: set[str] = set()
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            if not member.isfile():
                continue
            row = table.get(member.name)
            if row is None:
                raise ValueError(f"{archive}: {member.name} is not in the table")
            if member.name in seen:
                raise ValueError(f"{archive}: {member.name} stands twice")
            seen.add(member.name)
            content = tar.extractfile(member)
            assert content is not None  # a regular file always has content
            yield Clip(
                path=member.name,
                speaker=row.get("speaker") or "",
                corpus=archive.stem.rsplit("-", 1)[0],
                language=row.get("language") or "",
                sex=row.get("sex") or "",
                audio=content.read(),
            )
    if len(seen) != len(table):
        raise ValueError(f"{archive}: {len(seen)} clips, but {len(table)} in the table")


def check_speakers_apart(first: Path, second: Path) -> None:
    """Raise ValueError where a speaker stands in both archives' tables: a leak between splits."""
    speakers = [{row["speaker"] for row in read_table(archive).values()} for archive in (first, second)]
    shared = speakers[0] & speakers[1]
    if shared:
        raise ValueError(f"{first.name} and {second.name} share {len(shared)} speakers, {min(shared)} among them")
