"""A plain tar with one member a clip and a table beside it.

`NAME-SPLIT.tar` holds `SPEAKER/CLIP.EXT`; `NAME-SPLIT.tsv` has the columns path, speaker, language, sex and seconds
(noise: path, corpus, kind). Speaker ids carry their corpus's prefix already, so they are unique across corpora.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.corpora.clip import SPLITS, Clip, Row, by_path, check_all_there
from training.corpora.fingerprints import content_of
from training.corpora.tables import read_table, seconds_of, sex_of
from training.corpora.tar_members import members, stem_of_tar


@dataclass(frozen=True)
class Archive:
    """The archive and the table beside it."""

    path: Path

    @staticmethod
    def table_beside(path: Path) -> Path:
        """Where the table of a tar would be."""
        return path.with_name(stem_of_tar(path) + ".tsv")

    @property
    def name(self) -> str:
        """The file's name without split and ending."""
        return self._name_and_split()[0]

    def rows(self) -> list[Row]:
        """As the table says."""
        table = self.table_beside(self.path)
        corpus, split = self._name_and_split()
        with table.open(encoding="utf8", newline="") as lines:
            rows = [
                Row(
                    path=row["path"],
                    speaker=row.get("speaker", ""),
                    corpus=corpus,
                    language=row.get("language", ""),
                    sex=sex_of(row.get("sex", "")),
                    split=split,
                    seconds=seconds_of(row.get("seconds", ""), table),
                )
                for row in read_table(lines, table, ("path",))
            ]
        named = by_path(rows, table)
        present = set()
        for path, _ in members(self.path):
            if path not in named:
                raise ValueError(f"{self.path}: {path} is not in the table")
            if path in present:
                raise ValueError(f"{self.path}: {path} stands twice")
            present.add(path)
        check_all_there(rows, present, self.path)
        return rows

    def clips(self, rows: list[Row]) -> Iterator[Clip]:
        """In the tar's order."""
        wanted = by_path(rows, self.path)
        for path, content in members(self.path):
            if path in wanted:
                yield Clip.of(wanted[path], content())

    def fingerprint(self) -> str:
        """Of what is in the tar and its table."""
        return f"{content_of(self.path)} {content_of(self.table_beside(self.path))}"

    def _name_and_split(self) -> tuple[str, str]:
        stem = stem_of_tar(self.path)
        name, _, split = stem.rpartition("-")
        return (name, split) if name and split in SPLITS else (stem, "")


def read_clips(path: Path) -> Iterator[Clip]:
    """All clips of such an archive in the tar's order. Raises ValueError where tar and table differ."""
    archive = Archive(path)
    return archive.clips(archive.rows())
