"""Questions by the ten thousand: recordings are heard on all cores, each once, and asked about one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from speakerdb.audio import Source, name_of
from speakerdb.encoder.encoder import Encoder
from speakerdb.encoder.utterance import Utterance
from speakerdb.errors import EncoderDamaged, InputError, printable
from speakerdb.gallery.manifest import HEADER, files_within, unreadable
from speakerdb.gallery.naming import beside
from speakerdb.gallery.opened import Progress
from speakerdb.gallery.results import RefusedRecording
from speakerdb.trials import read_model_trials

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Claim:
    """That a recording is of a speaker.

    Attributes:
        listed: the recording as the list names it; path: where it lies; line: of the list, from 1.
        target: what the list says of it.
    """

    speaker: str
    listed: str
    path: str
    line: int
    target: bool | None = None


def listed_files(source: Path) -> list[str]:
    """Recordings to identify: of a file with a path a line (the last field, after tabs; paths beside the file), or all
    files of a folder.

    Raises: InputError for a list that cannot be read or is empty.
    """
    try:
        if source.is_dir():
            found = [str(path) for path in files_within(source)]
        else:
            fields = [line.split("\t") for line in source.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
            if fields and fields[0][-1] == "path":
                fields = fields[1:]
            found = [str(beside(source) / line[-1].strip()) for line in fields]
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(source, error) from error
    if not found:
        raise InputError(f"{printable(source, 200)}: no recording is listed", path=str(source))
    return found


def listed_claims(source: Path) -> list[Claim]:
    """Claims to verify: lines of `NAME<tab>PATH` (a line `speaker<tab>path` at the top or not), or a list of trials
    (`1|0 NAME PATH`, Kaldi's form too). Empty lines are passed over.

    Raises: InputError for a list that cannot be read, naming the line.
    """
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(source, error) from error
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not any("\t" in line for _, line in lines[:1]):
        if lines and len(lines[0][1].split()) < 3:
            form = "NAME<tab>PATH, or 1|0 NAME PATH, is wanted"
            raise InputError(
                f"{printable(source, 200)}, line {lines[0][0]}: {form}", path=str(source), line=lines[0][0]
            )
        trials = read_model_trials(source, text.split("\n"))
        numbers = [number for number, _ in lines]
        return [
            Claim(one.model, one.clip, str(beside(source) / one.clip), number, one.target)
            for number, one in zip(numbers, trials, strict=True)
        ]
    claims = []
    for number, line in lines:
        fields = [field.strip() for field in line.split("\t")]
        if number == lines[0][0] and tuple(fields) == HEADER:
            continue
        if len(fields) != 2 or not all(fields):
            where = f"{printable(source, 200)}, line {number}"
            raise InputError(f"{where}: NAME<tab>PATH is wanted", path=str(source), line=number)
        claims.append(Claim(fields[0], fields[1], str(beside(source) / fields[1]), number))
    return claims


def answers(
    encoder: Encoder, sources: Sequence[Source], ask: Callable[[Utterance], Answer], progress: Progress | None
) -> Iterator[Answer | RefusedRecording]:
    """What is answered of each recording, in order, or why nothing could be."""
    futures: Iterator[Future[Utterance]] = encoder.probes(sources)
    for number, (source, future) in enumerate(zip(sources, futures, strict=True)):
        try:
            found: Answer | RefusedRecording = ask(future.result())
        except (InputError, EncoderDamaged) as error:  # a graph may fail at one recording
            found = RefusedRecording.of(error, name_of(source))
        if progress:
            progress(number, len(sources), 1.0, 1.0)
        yield found
