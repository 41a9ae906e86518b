"""What all commands share: their options, and how results and errors leave the program."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from speakerdb.errors import SpeakerdbError, StorageError, printable
from speakerdb.quiet import stderr_open

if TYPE_CHECKING:
    from speakerdb.gallery.opened import Progress
    from speakerdb.gallery.results import Result

YES, NO, INCONCLUSIVE, INTERRUPTED = 0, 1, 6, 130
PICTURES = (".png", ".svg", ".pdf")


class GivenPath(click.Path):
    """A path; an empty one is a mistake (a variable that is not set), not the folder one stands in."""

    def __init__(self, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click.Path does, but for an empty text."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


class PicturePath(GivenPath):
    """A file for a picture, of a kind that matplotlib writes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As GivenPath does, but for another suffix."""
        if value and Path(value).suffix.lower() not in PICTURES:
            self.fail(f"{printable(value, 200)}: a picture's name ends in {', '.join(PICTURES)}", param, ctx)
        return super().convert(value, param, ctx)


def gallery_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --gallery; the command gets `folder`."""
    return click.option(
        "--gallery",
        "folder",
        type=GivenPath(),
        help="The gallery's folder.  [env: SPEAKERDB_GALLERY; default: speakerdb/gallery in the user's data folder]",
    )(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --json; the command gets `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON; errors too, on stderr.")(command)


def shared_options(command: Callable[..., int]) -> Callable[..., None]:
    """Add --gallery, --encoder and --json, open the gallery, and turn an error into one line and its exit code.

    The command gets `gallery` and `as_json` besides its own parameters, and returns its exit code.
    """

    @gallery_option
    @click.option(
        "--encoder",
        callback=_not_empty,
        help="A bundle's name or folder.  [default: the one that the gallery is bound to, shipped or added]",
    )
    @json_option
    @functools.wraps(command)
    def wrapped(folder: Path | None, encoder: str | None, as_json: bool, **parameters: Any) -> None:
        with errors_as_exit_codes(as_json):
            import numpy  # noqa: F401 (these two first: from deep inside other imports CPython takes 40 ms longer, since
            import sqlalchemy  # noqa: F401 (it maps and unmaps memory for its stack at every call there)

            from speakerdb.gallery.gallery import Gallery

            with Gallery.open(folder, encoder) as gallery:
                code = command(gallery=gallery, as_json=as_json, **parameters)
        sys.exit(code)

    return wrapped


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
        text = "interrupted; what was finished until then stays, and nothing is half there"
        refuse({"error": "Interrupted", "message": text, "exit_code": INTERRUPTED}, as_json)
        sys.exit(INTERRUPTED)


def _report(error: SpeakerdbError, as_json: bool) -> int:
    refuse(error.to_json(), as_json)
    return error.exit_code


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


def _not_empty(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    if value == "":
        raise click.BadParameter("the name is empty", context, option)
    return value


def threshold_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add --threshold."""
    text = "Distance 0 to 2 up to which a voice counts as the same, instead of a rate."
    return click.option("--threshold", type=float, help=text)(command)


def fmr_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add --fmr."""
    text = "How often a stranger may be accepted.  [default: 0.01, where the encoder is calibrated]"
    return click.option("--fmr", type=float, help=text)(command)


def why_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --margin, --explain and --plot."""
    options = [
        click.option(
            "--margin",
            type=float,
            default=0.0,
            help="Distances this near to the threshold, or to the next candidate's, are inconclusive (exit code 6).",
        ),
        click.option("--explain", is_flag=True, help="Say what decided, in some lines more."),
        click.option(
            "--plot",
            type=PicturePath(dir_okay=False),
            help="Draw the answer among trials of one speaker and of two (.png, .svg, .pdf; needs the extra plot).",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def missing(argument: str, instead: str) -> click.UsageError:
    """An argument that only a list could stand in for, said as click says it of one that nothing can."""
    return click.MissingParameter(f"{instead} takes its place.", param_hint=f"'{argument}'", param_type="argument")


def show(result: Result | list[Any], as_json: bool, text: str) -> None:
    """A result on stdout, as JSON or as text; its warnings are part of the JSON, else on stderr."""
    if as_json:
        value = [item.to_json() for item in result] if isinstance(result, list) else result.to_json()
        print_line(json_text(value))
        return
    for line in getattr(result, "warnings", []):
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
