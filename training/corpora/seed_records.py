"""The seed's own TFRecords: `<tar>_{train,dev,test}.tfrecords.gzip`, a record a clip.

A record is a serialised tensor of two strings: the MP3 file, and a serialised int32 label. Labels start at 0 in every
file and say nothing beyond it, so a speaker here is the file's name with the label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from training.corpora.clip import SPLITS, Clip, Row
from training.corpora.fingerprints import fingerprint_of
from training.records import whole_records

ENDING = ".tfrecords.gzip"


@dataclass(frozen=True)
class SeedRecords:
    """One such file."""

    path: Path

    @staticmethod
    def is_one(path: Path) -> bool:
        """Whether the name is of the seed's form."""
        return path.name.endswith(tuple(f"_{split}{ENDING}" for split in SPLITS))

    @property
    def name(self) -> str:
        """The tar's name, from which the seed made the file."""
        return self.path.name.removesuffix(ENDING).rpartition("_")[0]

    def rows(self) -> list[Row]:
        """One pass over the file, which holds the labels beside the recordings."""
        rows = [Row(*_identity(self, number, label)) for number, (_, label) in enumerate(self._records())]
        if not rows:
            raise ValueError(f"{self.path}: no record")
        return rows

    def clips(self, rows: list[Row]) -> Iterator[Clip]:
        """In the file's order."""
        wanted = {row.path: row for row in rows}
        for number, (audio, label) in enumerate(self._records()):
            row = wanted.get(Row(*_identity(self, number, label)).path)
            if row is not None:
                yield Clip.of(row, audio)

    def fingerprint(self) -> str:
        """Of the file."""
        return fingerprint_of(self.path)

    def _records(self) -> Iterator[tuple[bytes, int]]:
        for record in whole_records(self.path):
            yield parse_seed_record(record, self.path)


def parse_seed_record(record: bytes, where: object) -> tuple[bytes, int]:
    """The recording and its label. Raises ValueError for anything else."""
    try:
        audio, label = tf.io.parse_tensor(record, tf.string).numpy()
        return audio, int(tf.io.parse_tensor(label, tf.int32).numpy())
    except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: not a record of the seed's (a recording and its label)") from error


def _identity(file: SeedRecords, number: int, label: int) -> tuple[str, str, str, str, str, str]:
    """Path, speaker, corpus, language, sex, split."""
    split = file.path.name.removesuffix(ENDING).rpartition("_")[2]
    speaker = f"{file.name}_{split}/{label}"
    return f"{speaker}/{number}.mp3", speaker, file.name, "", "", split
