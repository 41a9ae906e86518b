"""Many answers: a line each on stdout as they come, a warning once a recording, and a score file beside."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from speakerdb.cli.explaining import candidate_lines, identification_line, verification_line
from speakerdb.cli.output import YES, json_text, print_line, show, tell
from speakerdb.errors import StorageError, printable

if TYPE_CHECKING:
    from speakerdb.gallery.answering import Claim
    from speakerdb.gallery.answers import Identification, Verification
    from speakerdb.gallery.results import RefusedRecording

LABELS = {True: " target", False: " nontarget", None: ""}


def print_identifications(
    answered: Iterable[Identification | RefusedRecording], scores: Path | None, as_json: bool, listed: bool
) -> int:
    """A line each, and of each candidate its score; the exit code of the first that was refused, else 0.

    Args: listed: whether all candidates are shown as text, too.
    """
    from speakerdb.gallery.results import RefusedRecording

    code, told = YES, set[str]()
    with _score_file(scores) as file:
        for found in answered:
            if isinstance(found, RefusedRecording):
                code = _print_refused(found, as_json, code)
                continue
            lines = [identification_line(found, found.source), *(candidate_lines(found) if listed else [])]
            show(found, as_json, "\n".join(lines), told)
            if file:
                for one in found.candidates:
                    _write(file, one.speaker, found.source, one.llr, one.distance, None)
    return code


def print_verifications(
    claimed: Iterable[tuple[Claim, Verification | RefusedRecording]], scores: Path | None, as_json: bool
) -> int:
    """A line and a score each; the exit code of the first that was refused, else 0."""
    from speakerdb.gallery.results import RefusedRecording

    code, told = YES, set[str]()
    with _score_file(scores) as file:
        for claim, found in claimed:
            if isinstance(found, RefusedRecording):
                code = _print_refused(found, as_json, code)
                continue
            show(found, as_json, verification_line(found, claim.listed), told)
            if file:
                _write(file, claim.speaker, claim.listed, found.llr, found.distance, claim.target)
    return code


def _print_refused(refused: RefusedRecording, as_json: bool, code: int) -> int:
    """The exit code so far; this one's where there was none."""
    if as_json:
        print_line(json_text(refused.to_json()))
    else:
        tell(f"speakerdb: {refused.error['message']}")
    return code or int(refused.error["exit_code"])


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
    score = -distance if llr is None else llr
    file.write(f"{_field(speaker)} {_field(source)} {score!r}{LABELS[target]}\n")


def _field(name: str) -> str:
    """A name without white space, which ends a field, or bytes that are no text: `Ana%20Sousa`; a % itself is %25."""

    def escaped(found: re.Match[str]) -> str:
        return "".join(f"%{byte:02X}" for byte in found.group().encode("utf-8", "surrogateescape"))

    return re.sub(r"[\s%\udc80-\udcff]", escaped, name)
