"""A folder with one folder a speaker; below it, recordings at any depth, as VoxCeleb's `id10001/VIDEO/00001.wav`.

Where the speakers' folders lie in folders named train, dev and test, and no recording beside them, these are the
splits. A `vox1_meta.csv` beside them says who is a woman and who a man.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.corpora.clip import AUDIO_ENDINGS, SPLITS, Clip, Row
from training.corpora.fingerprints import fingerprint_of_all
from training.corpora.tables import read_table, sex_of

VOXCELEB_TABLE = "vox1_meta.csv"


@dataclass(frozen=True)
class SpeakerFolders:
    """The folder, and the corpus's name."""

    path: Path
    name: str

    def rows(self) -> list[Row]:
        """In the order of the paths."""
        sexes = self._sexes()
        rows = []
        for split, root in self._roots():
            for speaker in sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink()):
                for file in recordings(speaker):
                    row = Row(
                        path=file.relative_to(self.path).as_posix(),
                        speaker=f"{self.name}/{speaker.name}",
                        corpus=self.name,
                        language="",
                        sex=sexes.get(speaker.name, ""),
                        split=split,
                    )
                    rows.append(row)
        if not rows:
            raise ValueError(f"{self.path}: no folder of a speaker with a recording in it ({', '.join(AUDIO_ENDINGS)})")
        return rows

    def clips(self, rows: list[Row]) -> Iterator[Clip]:
        """In the rows' order."""
        for row in rows:
            yield Clip.of(row, (self.path / row.path).read_bytes())

    def fingerprint(self) -> str:
        """Of the recordings and the table beside them; a work folder may lie there too."""
        return fingerprint_of_all(self.path, [self.path / VOXCELEB_TABLE, *recordings(self.path)])

    def _roots(self) -> list[tuple[str, Path]]:
        names = {entry.name for entry in self.path.iterdir() if entry.is_dir() and any(recordings(entry))}
        if names and names <= set(SPLITS):
            return [(split, self.path / split) for split in SPLITS if split in names]
        if {"train", "test"} <= names:
            other = min(names - set(SPLITS))
            raise ValueError(
                f"{self.path}: {other} lies beside train and test, so that nobody can tell whether these are splits or "
                "speakers; move it away"
            )
        return [("", self.path)]

    def _sexes(self) -> dict[str, str]:
        table = self.path / VOXCELEB_TABLE
        if not table.exists():
            return {}
        with table.open(encoding="utf8", newline="") as lines:
            rows = read_table(lines, table, ("VoxCeleb1 ID", "Gender"))
            return {row["VoxCeleb1 ID"].strip(): sex_of(row["Gender"]) for row in rows}


def recordings(folder: Path, endings: tuple[str, ...] = AUDIO_ENDINGS) -> Iterator[Path]:
    """Recordings in a folder and below, in order; links to folders are not followed."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            if file.lower().endswith(endings):
                yield Path(place) / file
