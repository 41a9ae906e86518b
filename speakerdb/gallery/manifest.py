"""Who says what, for many recordings at once: a table, a Kaldi folder, or a folder a speaker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from speakerdb.errors import InputError, printable
from speakerdb.gallery.naming import beside, usable_name

HEADER = ("speaker", "path")
HIDDEN = "."


@dataclass(frozen=True)
class Listed:
    """A recording, by its absolute path, and its speaker's name."""

    speaker: str
    path: str


def read_manifest(source: Path) -> list[Listed]:
    """Recordings by speaker, each once, a speaker's one after the other.

    Args: source: a file of `SPEAKER<tab>PATH` lines (paths beside the file, a line `speaker<tab>path` at the top or
        not; columns that it names besides are passed over); a folder with Kaldi's `wav.scp` and `utt2spk`; or a folder
        with a folder for each speaker.
    Raises: InputError for a file or folder that is none of these, with the line; for a name that cannot be used.
    """
    try:
        if source.is_dir():
            found = list(_kaldi(source) if _is_kaldi(source) else _folders(source))
        else:
            found = list(_table(source))
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(source, error) from error
    if not found:
        listed_none = InputError(f"{printable(source, 200)}: no recording is listed", path=str(source))
        for line in passed_over(source):
            listed_none.add(line)
        raise listed_none
    absolute = [Listed(one.speaker, str(Path(one.path).absolute())) for one in found]
    return sorted(dict.fromkeys(absolute), key=lambda one: one.speaker)


def unreadable(source: Path, error: OSError | UnicodeDecodeError) -> InputError:
    """What to say of a list, or of the folder in it, that cannot be read."""
    if isinstance(error, UnicodeDecodeError):
        return InputError(f"{printable(source, 200)}: not UTF-8 text", path=str(source))
    named = str(error.filename or source)
    return InputError(f"{printable(named, 200)}: {error.strerror}", path=named)


def passed_over(source: Path) -> list[str]:
    """A line on files that lie beside the speakers' folders, where there are any: nobody says whose they are."""
    if not source.is_dir() or _is_kaldi(source):
        return []
    loose = [path for path in source.iterdir() if path.is_file() and not path.name.startswith(HIDDEN)]
    if not loose:
        return []
    many = "1 file lies" if len(loose) == 1 else f"{len(loose):,} files lie"
    where = f"{many} in {printable(source, 200)} itself, in no speaker's folder"
    return [f"{where}, and were passed over ({printable(min(loose).name)}{', …' if len(loose) > 1 else ''})"]


def _is_kaldi(folder: Path) -> bool:
    return (folder / "wav.scp").is_file() and (folder / "utt2spk").is_file()


def _table(file: Path) -> Iterator[Listed]:
    lines = [(number, line) for number, line in enumerate(_lines(file), 1) if line.strip()]
    columns = len(HEADER)
    for number, line in lines:
        fields = line.split("\t")
        if number == lines[0][0] and tuple(fields[:2]) == HEADER:
            columns = len(fields)
            continue
        if len(fields) < 2 or not fields[1].strip() or any(map(str.strip, fields[columns:])):
            raise _malformed(file, number, "SPEAKER<tab>PATH")
        yield Listed(_name(file, number, fields[0]), str(beside(file) / fields[1].strip()))


def _kaldi(folder: Path) -> Iterator[Listed]:
    speakers = dict(_pairs(folder / "utt2spk"))
    for number, (utterance, path) in enumerate(_pairs(folder / "wav.scp"), 1):
        if path.endswith("|"):
            raise _malformed(folder / "wav.scp", number, "a path, since commands are not run,")
        if utterance not in speakers:
            raise InputError(f"{printable(utterance)} of wav.scp has no speaker in utt2spk")
        yield Listed(_name(folder / "utt2spk", number, speakers[utterance]), str(folder / path))


def _pairs(file: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_lines(file), 1):
        fields = line.strip().split(maxsplit=1)
        if not fields:
            continue
        if len(fields) < 2:
            raise _malformed(file, number, "two fields")
        yield fields[0], fields[1]


def _lines(file: Path) -> list[str]:
    """Ended by line feeds alone: what else Unicode ends lines with may stand in a name."""
    return file.read_text(encoding="utf-8-sig").split("\n")


def _folders(source: Path) -> Iterator[Listed]:
    for folder in sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith(HIDDEN)):
        for path in files_within(folder):
            yield Listed(usable_name(folder.name), str(path))


def files_within(folder: Path) -> list[Path]:
    """Files of a folder and those in it, in order; nothing hidden, nor what is in a hidden folder.

    A link to a folder is followed; a folder that several lead to, as a circle of them does, is gone through once.
    Raises: OSError for a folder that cannot be read, whose recordings would be missed without a word.
    """

    def refuse(error: OSError) -> None:
        raise error

    found, seen = list[Path](), set[str]()
    for within, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        folders.sort()
        real = os.path.realpath(within)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(HIDDEN)]
        found += [Path(within, name) for name in names if not name.startswith(HIDDEN)]
    return sorted(path for path in found if path.is_file())


def _name(file: Path, number: int, text: str) -> str:
    try:
        return usable_name(text)
    except InputError as error:
        raise InputError(f"{printable(file, 200)}, line {number}: {error}", path=str(file), line=number) from error


def _malformed(file: Path, number: int, wanted: str) -> InputError:
    return InputError(f"{printable(file, 200)}, line {number}: {wanted} is wanted", path=str(file), line=number)
