"""Mozilla Common Voice as released: a tar, a tar.gz, or a folder unpacked from one; one language or several.

`<release>/<lang>/{train,dev,test}.tsv` have the columns client_id and path (and gender, locale in most releases);
`<release>/<lang>/clips/` holds the MP3 files. Where a language has only `validated.tsv`, its clips have no split.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training.corpora.clip import SPLITS, Clip, Row, by_path, check_all_there
from training.corpora.fingerprints import fingerprint_of, fingerprint_of_all
from training.corpora.tables import read_table, sex_of
from training.corpora.tar_members import members, stem_of_tar

VALIDATED = "validated"
TABLES = tuple(f"{name}.tsv" for name in (*SPLITS, VALIDATED))
ID_LETTERS = 12
"""Of the 128 hexadecimal ones of a client_id; two of a million people share them by a chance of 0.2 %."""


@dataclass(frozen=True)
class ReleaseTar:
    """A release in its tar; tables may stand before, between or behind the clips."""

    path: Path

    @property
    def name(self) -> str:
        """The file's name without its ending, such as cv-corpus-17.0-2024-03-15-tr."""
        return stem_of_tar(self.path)

    def rows(self) -> list[Row]:
        """As the tables say; one pass over the archive."""
        tables: dict[PurePosixPath, list[Row]] = {}
        present: set[str] = set()
        for member, content in members(self.path):
            path = PurePosixPath(member)
            if path.name in TABLES:
                where = f"{self.path}: {member}"
                lines = io.TextIOWrapper(io.BytesIO(content()), encoding="utf8", newline="")
                tables[path] = list(_rows_of_table(lines, where, path.parent.name, path.stem, self.name))
            elif path.parent.name == "clips":
                present.add(path.name)
        rows = _of_splits(tables, self.path)
        check_all_there(rows, {row.path for row in rows if _file(row) in present}, self.path)
        return rows

    def clips(self, rows: list[Row]) -> Iterator[Clip]:
        """In the tar's order."""
        wanted = {_file(row): row for row in rows}
        for member, content in members(self.path):
            path = PurePosixPath(member)
            row = wanted.pop(path.name, None) if path.parent.name == "clips" else None
            if row is not None:
                yield Clip.of(row, content())

    def fingerprint(self) -> str:
        """Of the tar."""
        return fingerprint_of(self.path)


@dataclass(frozen=True)
class ReleaseFolder:
    """A release unpacked: the release's folder, or that of one language."""

    path: Path
    name: str

    @staticmethod
    def languages(path: Path) -> list[Path]:
        """The folders that hold a table and clips: this one, or those in it, or those one further down."""
        for pattern in ("", "*/", "*/*/"):
            found = {table.parent for name in TABLES for table in path.glob(pattern + name)}
            if kept := sorted(folder for folder in found if (folder / "clips").is_dir()):
                return kept
        return []

    def rows(self) -> list[Row]:
        """As the tables say."""
        tables = {}
        for folder in self.languages(self.path):
            for file in (folder / name for name in TABLES):
                if file.exists():
                    with file.open(encoding="utf8", newline="") as lines:
                        rows = list(_rows_of_table(lines, file, folder.name, file.stem, self.name))
                    tables[PurePosixPath(file)] = rows
        rows = _of_splits(tables, self.path)
        present = self._files()
        check_all_there(rows, {row.path for row in rows if _file(row) in present}, self.path)
        return rows

    def clips(self, rows: list[Row]) -> Iterator[Clip]:
        """In the rows' order."""
        files = self._files()
        for row in rows:
            yield Clip.of(row, files[_file(row)].read_bytes())

    def fingerprint(self) -> str:
        """Of the tables and the clips."""
        tables = [folder / name for folder in self.languages(self.path) for name in TABLES]
        return fingerprint_of_all(self.path, [*tables, *self._files().values()])

    def _files(self) -> dict[str, Path]:
        return {clip.name: clip for folder in self.languages(self.path) for clip in (folder / "clips").iterdir()}


def _rows_of_table(lines: Iterator[str], where: object, folder: str, table: str, corpus: str) -> Iterator[Row]:
    for row in read_table(lines, where, ("client_id", "path")):
        file = row["path"] if row["path"].endswith(".mp3") else row["path"] + ".mp3"
        if not row["client_id"] or "/" in file or file.startswith("."):
            raise ValueError(f"{where}: a row without client_id, or with a path that is no file's name: {file!r}")
        speaker = "cv" + row["client_id"][:ID_LETTERS]
        yield Row(
            path=f"{speaker}/{file}",
            speaker=speaker,
            corpus=corpus,
            language=row.get("locale") or folder,
            sex=sex_of(row.get("gender") or row.get("sex") or ""),
            split="" if table == VALIDATED else table,
        )


def _of_splits(tables: dict[PurePosixPath, list[Row]], where: object) -> list[Row]:
    """The rows of train, dev and test; of `validated` where a language has none of the three."""
    with_splits = {path.parent for path in tables if path.stem != VALIDATED}
    rows = [
        row
        for path, found in tables.items()
        if path.stem != VALIDATED or path.parent not in with_splits
        for row in found
    ]
    if not rows:
        raise ValueError(f"{where}: no clip in any of {', '.join(TABLES)}")
    files = {_file(row) for row in rows}
    if len(files) != len(rows):
        by_path(rows, where)  # the same clip twice; else two people's
        raise ValueError(f"{where}: the tables give one clip to two people")
    return rows


def _file(row: Row) -> str:
    """The MP3 file's own name; it holds language and number, so a release has it once."""
    return row.path.split("/", 1)[1]
