"""A Kaldi data folder: `wav.scp` (UTTERANCE FILE) and `utt2spk` (UTTERANCE SPEAKER).

`spk2gender` and `utt2lang` are read where they are there. A relative file is looked up from the folder itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.corpora.clip import Clip, Row, check_all_there
from training.corpora.fingerprints import fingerprint_of_all
from training.corpora.tables import sex_of


@dataclass(frozen=True)
class KaldiFolder:
    """The folder, and the corpus's name."""

    path: Path
    name: str

    def rows(self) -> list[Row]:
        """In the order of wav.scp."""
        if (self.path / "segments").exists():
            raise ValueError(f"{self.path}: segments of recordings are not read; cut them into files first")
        files, speakers = self._files(), _pairs(self.path / "utt2spk")
        sexes, languages = _pairs(self.path / "spk2gender"), _pairs(self.path / "utt2lang")
        unknown = [utterance for utterance in files if utterance not in speakers]
        if unknown:
            raise ValueError(f"{self.path}/utt2spk: no speaker of {len(unknown)} utterances, {unknown[0]} among them")
        rows = [
            Row(
                path=utterance,
                speaker=f"{self.name}/{speakers[utterance]}",
                corpus=self.name,
                language=languages.get(utterance, ""),
                sex=sex_of(sexes.get(speakers[utterance], "")),
            )
            for utterance in files
        ]
        if not rows:
            raise ValueError(f"{self.path}/wav.scp: no utterance")
        check_all_there(rows, {utterance for utterance, file in files.items() if file.is_file()}, self.path / "wav.scp")
        return rows

    def clips(self, rows: list[Row]) -> Iterator[Clip]:
        """In the rows' order."""
        files = self._files()
        for row in rows:
            yield Clip.of(row, files[row.path].read_bytes())

    def fingerprint(self) -> str:
        """Of wav.scp, utt2spk and the recordings."""
        tables = (self.path / "wav.scp", self.path / "utt2spk")
        return fingerprint_of_all(self.path, [*tables, *self._files().values()])

    def _files(self) -> dict[str, Path]:
        table = self.path / "wav.scp"
        found = {}
        for utterance, value in _pairs(table).items():
            if value.endswith("|") or value == "-":
                raise ValueError(f"{table}: {utterance} is a command, and commands are not run; write the file's name")
            found[utterance] = self.path / value
        return found


def _pairs(table: Path) -> dict[str, str]:
    """KEY VALUE lines; a value may hold spaces. Empty where an optional file is not there."""
    if not table.exists() and table.name not in ("wav.scp", "utt2spk"):
        return {}
    found: dict[str, str] = {}
    try:
        lines = table.read_text(encoding="utf8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{table}: not a table of text ({error})") from error
    for number, line in enumerate(lines, start=1):
        parts = line.split(maxsplit=1)
        if not parts:
            continue
        if len(parts) != 2 or parts[0] in found:
            raise ValueError(f"{table}: line {number} has no value, or its key stood before: {line[:80]!r}")
        found[parts[0]] = parts[1].strip()
    return found
