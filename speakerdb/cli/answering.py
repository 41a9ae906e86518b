"""Many answers: a line each on stdout as they come, and a score file beside."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from speakerdb.cli.explaining import identification_line, verification_line
from speakerdb.cli.options import YES, print_line
from speakerdb.errors import InputError, StorageError, printable

if TYPE_CHECKING:
    from speakerdb.gallery.answering import Claim
    from speakerdb.gallery.answers import Identification, Verification
    from speakerdb.gallery.results import RefusedRecording

LABELS = {True: " target", False: " nontarget", None: ""}


def print_identifications(
    answered: Iterable[Identification | RefusedRecording], scores: Path | None, as_json: bool
) -> int:
    """A line each, and of each candidate its score; the exit code of the first that was refused, else 0."""
    from speakerdb.gallery.results import RefusedRecording

    code = YES
    with _score_file(scores) as file:
        for found in answered:
            if isinstance(found, RefusedRecording):
                code = code or _print_refused(found, as_json)
                continue
            print_line(json.dumps(found.to_json(), ensure_ascii=False) if as_json else identification_line(found))
            if file:
                for one in found.candidates:
                    _write(file, one.speaker, found.source, one.llr, one.distance, None)
    return code


def print_verifications(
    claimed: Iterable[tuple[Claim, Verification | RefusedRecording]], scores: Path | None, as_json: bool
) -> int:
    """A line and a score each; the exit code of the first that was refused, else 0."""
    from speakerdb.gallery.results import RefusedRecording

    code = YES
    with _score_file(scores) as file:
        for claim, found in claimed:
            if isinstance(found, RefusedRecording):
                code = code or _print_refused(found, as_json)
                continue
            print_line(json.dumps(found.to_json(), ensure_ascii=False) if as_json else verification_line(found))
            if file:
                _write(file, claim.speaker, claim.listed, found.llr, found.distance, claim.target)
    return code


def _print_refused(refused: RefusedRecording, as_json: bool) -> int:
    if as_json:
        print_line(json.dumps(refused.to_json(), ensure_ascii=False))
    else:
        click.echo(f"speakerdb: {refused.error['message']}", err=True)
    return int(refused.error["exit_code"])


@contextlib.contextmanager
def _score_file(path: Path | None) -> Iterator[IO[str] | None]:
    """The file for scores, where one is wanted. Raises: StorageError where it cannot be written."""
    if path is None:
        yield None
        return
    try:
        with path.open("w", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise StorageError(f"{printable(path, 200)}: {error.strerror}", path=str(path)) from error


def _write(file: IO[str], speaker: str, source: str, llr: float | None, distance: float, target: bool | None) -> None:
    for name in (speaker, source):
        if len(name.split()) != 1:
            raise InputError(f"{printable(name)!r} has white space, which no score file can hold; leave --scores out")
    score = -distance if llr is None else llr
    file.write(f"{speaker} {source} {score!r}{LABELS[target]}\n")
