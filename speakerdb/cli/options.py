"""The options and arguments that commands share."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from speakerdb.cli.output import errors_as_exit_codes
from speakerdb.errors import InputError, printable

if TYPE_CHECKING:
    from speakerdb.audio import Source

PICTURES = (".png", ".svg", ".pdf")


class GivenPath(click.Path):
    """A path; an empty one is a mistake (a variable that is not set), not the folder one stands in.

    Whether it can be read is told by who reads it: that is no mistake in the command line.
    """

    def __init__(self, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay, readable=False)

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


def require_no_file(name: str, order: str) -> None:
    """Raise where a recording stands in the place of the speaker's name. Args: order: in which they belong."""
    if os.path.isfile(name):  # noqa: PTH113 (Path raises where a name is too long for one)
        raise click.UsageError(f"{printable(name, 200)} is a file; the speaker's name comes first: {order}")


def channel_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add --channel."""
    text = "Hear this channel of each recording alone, such as one side of a call.  [default: the average of all]"
    return click.option("--channel", type=click.IntRange(1), metavar="N", help=text)(command)


def source_of(file: str, channel: int | None) -> Source:
    """A recording that an argument names, `-` for stdin, or one channel of it. Raises: InputError for none."""
    from speakerdb.audio import channel_of

    if not file:
        raise InputError("the path of a recording is empty")
    if file != "-":
        return channel_of(file, channel)
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("-: stdin is closed or a terminal; pipe a recording into it")
    return channel_of(sys.stdin.buffer, channel)
