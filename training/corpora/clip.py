"""What every corpus hands on: a row a clip, then the clips themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Protocol

SPLITS = ("train", "dev", "test")

AUDIO_ENDINGS = (".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".webm")


@dataclass(frozen=True)
class Row:
    """What a corpus's tables say of a clip.

    Attributes:
        path: within the corpus, as trial lists name the clip.
        speaker: unique across corpora; empty for noise.
        language, sex (m or f): empty where unknown.
        split: train, dev, test, or empty where the corpus has none.
        seconds: of the clip; 0 where the tables do not say.
    """

    path: str
    speaker: str
    corpus: str
    language: str
    sex: str
    split: str = ""
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The path without the extension, as teachers' vectors are keyed."""
        return self.path.rsplit(".", 1)[0]

    @property
    def set_name(self) -> str:
        """CORPUS-SPLIT, by which recipes and commands name a part of a corpus."""
        return set_name(self.corpus, self.split)


@dataclass(frozen=True)
class Clip(Row):
    """One recording as released: encoded bytes, with what its table says."""

    audio: bytes = b""

    @staticmethod
    def of(row: Row, audio: bytes) -> Clip:
        """The clip of a row."""
        return Clip(**{part.name: getattr(row, part.name) for part in fields(Row)}, audio=audio)


class Corpus(Protocol):
    """A corpus in one of the forms that can be read. Everything raises ValueError naming the file that is wrong."""

    @property
    def name(self) -> str:
        """Of the corpus; its sets are NAME-train and so on."""

    def rows(self) -> list[Row]:
        """Every clip that the tables name, each of which is there. Holds no audio; reads an archive once at most."""

    def clips(self, rows: list[Row]) -> Iterator[Clip]:
        """The clips of these rows in the order in which they are stored, one at a time."""

    def fingerprint(self) -> str:
        """Changes where the corpus does, as far as `training.corpora.fingerprints` can tell."""


def set_name(corpus: str, split: str) -> str:
    """CORPUS-SPLIT, or the corpus alone where it has no splits."""
    return f"{corpus}-{split}" if split else corpus


def order_of_sets(name: str) -> tuple[str, int]:
    """For sorting names of sets: by corpus, then train, dev, test."""
    corpus, _, split = name.rpartition("-")
    return (corpus, SPLITS.index(split)) if split in SPLITS else (name, -1)


def by_path(rows: list[Row], where: object) -> dict[str, Row]:
    """Rows by their path. Raises ValueError where two have the same."""
    found = {row.path: row for row in rows}
    if len(found) != len(rows):
        seen: set[str] = set()
        twice = next(row.path for row in rows if row.path in seen or seen.add(row.path))  # type: ignore[func-returns-value]
        raise ValueError(f"{where}: {twice} stands twice in the tables")
    return found


def check_all_there(rows: list[Row], present: set[str], where: object) -> None:
    """Raise ValueError where the tables name clips that are not there."""
    missing = [row.path for row in rows if row.path not in present]
    if missing:
        raise ValueError(f"{where}: {len(missing)} clips of the tables are not there, {missing[0]} among them")
