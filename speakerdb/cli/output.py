"""How results, errors and progress leave the program: stdout for what was asked, stderr for all else."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import click

from speakerdb.cli import interruption
from speakerdb.errors import SpeakerdbError, StorageError, printable
from speakerdb.quiet import stderr_open

if TYPE_CHECKING:
    from speakerdb.gallery.opened import Progress
    from speakerdb.gallery.results import Result

YES, NO, INCONCLUSIVE, FAULT, INTERRUPTED = 0, 1, 6, 70, 130


@contextlib.contextmanager
def errors_as_exit_codes(as_json: bool) -> Iterator[None]:
    """One line (or one JSON object) on stderr and the error's exit code."""
    try:
        yield
    except SpeakerdbError as error:
        sys.exit(_report(error, as_json))
    except OSError as error:  # of the gallery's folder or index; recordings and the database have their own
        name = printable(error.filename or "the gallery", 200)
        sys.exit(_report(StorageError(f"{name}: {error.strerror or error}", path=name), as_json))
    except KeyboardInterrupt:
        sys.exit(interrupted(as_json))


def _report(error: SpeakerdbError, as_json: bool) -> int:
    if interruption.came():
        return interrupted(as_json)
    refuse(error.to_json(), as_json)
    return error.exit_code


def interrupted(as_json: bool) -> int:
    """Say that a signal came, and which exit code that is."""
    text = "interrupted; what was finished until then stays, and nothing is half there"
    refuse({"error": "Interrupted", "message": text, "exit_code": INTERRUPTED}, as_json)
    return INTERRUPTED


def refuse(error: dict[str, Any], as_json: bool) -> None:
    """An error on stderr: its fields, or its message in one line."""
    tell(json_text(error, sys.stderr) if as_json else f"speakerdb: {error['message']}")


def tell(line: str) -> None:
    """A line on stderr, which is shut for moments while other threads decode.

    Where it cannot be written (a full disk, a reader that went away) the exit code still says what was found.
    """
    with stderr_open():
        try:
            click.echo(line, err=True)
        except OSError:
            _to_nowhere(sys.stderr)


def json_text(value: Any, stream: Any = None) -> str:
    """A value on one line; in ASCII where the stream (stdout, where none is named) does not take every character."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "utf-8"
    return json.dumps(value, ensure_ascii=encoding.lower().replace("-", "") not in ("utf8", "utf8sig"))


def show(result: Result | list[Any], as_json: bool, text: str, told: set[str] | None = None) -> None:
    """A result on stdout, as JSON or as text; its warnings are part of the JSON, else on stderr.

    Args: told: warnings that were on stderr before, which are not told again; those of this result are added.
    """
    if as_json:
        value = [item.to_json() for item in result] if isinstance(result, list) else result.to_json()
        print_line(json_text(value))
        return
    told = set() if told is None else told
    for line in getattr(result, "warnings", []):
        if line not in told:
            told.add(line)
            tell(f"speakerdb: warning: {line}")
    if text:
        print_line(text)


def counted(number: int, what: str) -> str:
    """`1 recording`, `2 recordings`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def shown_size(size_bytes: int) -> str:
    """`9.0 kB`, `1.2 MB`."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.1f} kB"


def percent(share: float) -> str:
    """Two digits of a share in percent: `0.12`, `3.4`, `56`, `100`."""
    return f"{100 * share:.0f}" if share >= 0.0995 else f"{100 * share:.2g}"


def print_line(line: str) -> None:
    """Onto stdout. A reader that went away is no error: the exit code still says what was found.

    Raises: StorageError where stdout is a file that cannot be written, such as on a full disk.
    """
    try:
        click.echo(line)
    except BrokenPipeError:
        _to_nowhere(sys.stdout)
    except OSError as error:
        raise unwritten(error) from error


def unwritten(error: OSError) -> StorageError:
    """What stdout cannot take, as an error of ours; stdout takes nothing more."""
    _to_nowhere(sys.stdout)
    return StorageError(f"stdout: {error.strerror}; what was done until then stays")


def _to_nowhere(stream: IO[str]) -> None:
    """What is written from now on is lost, and is no error; Python flushes what is left in it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


@contextlib.contextmanager
def progress_bar(label: str, lines: bool = False) -> Iterator[Progress | None]:
    """A bar on stderr with rate and time left, on a terminal only, once the work takes more than a second.

    Args: lines: whether answers come meanwhile, which tell enough themselves where they go to a terminal, too.
    """
    told = lines and sys.stdout is not None and sys.stdout.isatty()
    if told or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(label, total=None, visible=False, count="")
        began = time.monotonic()

        def update(recording: int, recordings: int, done_s: float, total_s: float | None) -> None:
            passed_s = time.monotonic() - began
            if passed_s < 1.0:
                return
            if recordings > 1:
                share = min(1.0, done_s / (total_s or done_s or 1.0))
                done, total, unit = recording + share, float(recordings), "recordings"
            else:
                done, total, unit = done_s, total_s or done_s, "s of audio"
            count = f"{done:.0f} of {total:.0f} {unit}, {done / passed_s:.1f}/s"
            bar.update(task, completed=done, total=total, visible=True, count=count)

        yield update
