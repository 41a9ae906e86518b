"""The `speakerdb` command. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import gc
import inspect
import io
import keyword
import sys
from typing import Any

import click

from speakerdb.cli import interruption
from speakerdb.cli.output import FAULT, interrupted, refuse, tell, unwritten
from speakerdb.errors import printable

COMMANDS = {
    "enroll": "speakerdb.cli.enrolling",
    "identify": "speakerdb.cli.voices",
    "verify": "speakerdb.cli.voices",
    "compare": "speakerdb.cli.voices",
    "speakers": "speakerdb.cli.people",
    "rename": "speakerdb.cli.people",
    "remove": "speakerdb.cli.people",
    "remove-enrollment": "speakerdb.cli.people",
    "merge": "speakerdb.cli.people",
    "move-enrollment": "speakerdb.cli.people",
    "feedback": "speakerdb.cli.learning",
    "calibrate": "speakerdb.cli.learning",
    "doctor": "speakerdb.cli.upkeep",
    "check": "speakerdb.cli.upkeep",
    "backup": "speakerdb.cli.upkeep",
    "export": "speakerdb.cli.archives",
    "import": "speakerdb.cli.archives",
    "rebuild": "speakerdb.cli.upkeep",
    "encoder": "speakerdb.cli.encoders",
    "db": "speakerdb.cli.upkeep",
}


EXAMPLE = "\b\nExample:"


class LateGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def invoke(self, context: click.Context) -> Any:
        """Of a command that is interrupted before its own errors are told, click itself would tell an empty line."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            sys.exit(interrupted("--json" in sys.argv))

    def list_commands(self, context: click.Context) -> list[str]:
        """All commands, in the order of use."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """One command."""
        if name not in COMMANDS:
            return None
        from importlib import import_module

        named = name.replace("-", "_")
        command = getattr(import_module(COMMANDS[name]), f"{named}_" if keyword.iskeyword(named) else named)
        assert isinstance(command, click.Command)  # the table above and the modules are one program
        return _example_last(command)


def _example_last(command: click.Command) -> click.Command:
    """A command whose example stands behind its options, where a reader's eye ends."""
    text, found, example = inspect.cleandoc(command.help or "").partition(EXAMPLE)
    if found:
        command.help, command.epilog = text, EXAMPLE + example
    for one in getattr(command, "commands", {}).values():
        _example_last(one)
    return command


@click.group(cls=LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="speakerdb")
def speakerdb() -> None:
    """Remember voices, and say who is speaking.

    \b
    Exit codes: 0 yes; 1 a clear no (rejected, unknown); 2 usage; 3 a recording, name, number
    or list that cannot be used; 4 it does not fit what is stored; 5 the gallery's files cannot
    be used; 6 inconclusive; 130 interrupted.

    \b
    Example:
      speakerdb enroll ana ana_1.wav ana_2.wav ana_3.wav
      speakerdb identify clip.wav
      speakerdb verify ana clip.wav
    """


_example_last(speakerdb)

COLLECT_AFTER = 100_000
"""New objects, for Python's 700: what is imported is no garbage, and to look through it again and again takes time."""


def main() -> None:
    """Run the command line; one that cannot be understood gets one line, too, and exit code 2."""
    gc.set_threshold(COLLECT_AFTER)
    interruption.expect()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may hold bytes that are no text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.exit(speakerdb(prog_name="speakerdb", standalone_mode=False))
    except click.Abort:
        sys.exit(interrupted("--json" in sys.argv))
    except click.ClickException as error:
        sys.exit(_refused(error))
    except OSError as error:  # of help, which click itself writes
        found = unwritten(error)
        refuse(found.to_json(), "--json" in sys.argv)
        sys.exit(found.exit_code)
    except Exception:  # Python's own end would be 1, which is an answer: no
        if interruption.came():
            sys.exit(interrupted("--json" in sys.argv))
        import traceback

        tell(f"{traceback.format_exc()}speakerdb: a fault of the program itself; please report the lines above")
        sys.exit(FAULT)
    finally:
        gc.freeze()  # nor is it looked through at the end, for a tenth of a second


def _refused(error: click.ClickException) -> int:
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # `speakerdb` alone
        tell(error.format_message())
        return error.exit_code
    context = getattr(error, "ctx", None)
    message = printable(" ".join(error.format_message().split()), 300).rstrip(".")
    if isinstance(error, click.NoSuchOption) and not error.possibilities:
        message += "; a name or file that begins with a dash stands behind --"
    message += " " if message.endswith("?") else ". "
    message += f"See `{context.command_path if context else 'speakerdb'} --help`"
    refuse({"error": "UsageError", "message": message, "exit_code": error.exit_code}, "--json" in sys.argv)
    return error.exit_code


if __name__ == "__main__":
    main()
