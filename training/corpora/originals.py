"""The recordings that the archives' clips were encoded from, as public repositories hold them → archives likewise.

Train clips come as Opus of 24 kbit/s, and dev and test as they were released. What a network hears of one and the
other lies at a cosine of 0.98 to 0.99 to one another, so that it is better to learn from what will be heard.

Which repositories those are: `REPOSITORIES`. They are read as checked out, a folder each; clips of nobody but the train
archives' speakers are taken, those that are in them. Sets that no repository has are taken as they are.
"""

from __future__ import annotations

import csv
import io
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from training.corpora.archive import Archive
from training.corpora.clip import Row


@dataclass(frozen=True)
class Repository:
    """Attributes: name: of its folder. path: of a clip in it, by the row of the archive."""

    name: str
    path: Callable[[Row], str]


def _speech_command(row: Row) -> str:
    word, _, rest = Path(row.path).stem.partition("_")
    speaker, _, number = rest.partition("_")
    return f"data/{word}/{speaker}_nohash_{number}.wav"


REPOSITORIES = {
    "common_voice": Repository(
        "rsample-100-cv-corpus-6.1-2020-12-11", lambda row: f"{row.language}/clips/{Path(row.path).stem}.mp3"
    ),
    "speech_commands": Repository("DeadSimpleSpeechRecognizer", _speech_command),
    "speechocean762": Repository(
        "speechocean762", lambda row: f"WAVE/SPEAKER{row.speaker.removeprefix('so')}/{Path(row.path).stem}.WAV"
    ),
}
"""By corpus: omnilingo/rsample-100-cv-corpus-6.1-2020-12-11, manashmandal/DeadSimpleSpeechRecognizer and
jimbozhang/speechocean762."""


def write_originals(
    repositories: Path, corpora: Path, names: Sequence[str], out: Path, console: Console
) -> dict[str, int]:
    """Write an archive with its table for each of these, whole or not at all; those that are there stay.

    Args: repositories: the folder with theirs. corpora: of the archives. names: of sets; others than train sets are
        taken as they are.
    Returns: how many clips each has.
    Raises: ValueError, naming it, for a clip that its repository lacks.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in names:
        archive, written = Archive(corpora / f"{name}.tar"), Archive(out / f"{name}.tar")
        if not written.path.exists():
            repository = REPOSITORIES.get(archive.name) if name.endswith("-train") else None
            if repository is None:
                _copy(archive, written)
            else:
                _write(archive.rows(), repositories / repository.name, repository, written, console)
        found[name] = len(written.rows())
    return found


def _write(rows: list[Row], folder: Path, repository: Repository, written: Archive, console: Console) -> None:
    partial = written.path.with_suffix(".partial")
    with partial.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content in track(_originals(rows, folder, repository), written.name, len(rows), console=console):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with Archive.table_beside(written.path).open("w", encoding="utf8", newline="") as lines:
        table = csv.writer(lines, delimiter="\t", lineterminator="\n")
        table.writerow(("path", "speaker", "language", "sex", "seconds"))
        for row in rows:
            table.writerow((_path(row, repository), row.speaker, row.language, row.sex, f"{row.seconds:.2f}"))
    partial.replace(written.path)


def _originals(rows: list[Row], folder: Path, repository: Repository) -> Iterator[tuple[str, bytes]]:
    for row in rows:
        file = folder / repository.path(row)
        if not file.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{row.path}: its table names a file outside {folder}")
        try:
            yield _path(row, repository), file.read_bytes()
        except FileNotFoundError:
            raise ValueError(f"{file} is missing; see training/corpora/originals.py for its repository") from None


def _path(row: Row, repository: Repository) -> str:
    """In the new archive: as in the old one, with the original's own ending."""
    return str(Path(row.path).with_suffix(Path(repository.path(row)).suffix.lower()))


def _copy(archive: Archive, written: Archive) -> None:
    shutil.copyfile(Archive.table_beside(archive.path), Archive.table_beside(written.path))
    partial = written.path.with_suffix(".partial")
    shutil.copyfile(archive.path, partial)
    partial.replace(written.path)
