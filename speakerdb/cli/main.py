"""The `speakerdb` command. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys

import click

COMMANDS = {
    "enroll": "speakerdb.cli.voices",
    "identify": "speakerdb.cli.voices",
    "verify": "speakerdb.cli.voices",
    "compare": "speakerdb.cli.voices",
    "speakers": "speakerdb.cli.people",
    "rename": "speakerdb.cli.people",
    "remove": "speakerdb.cli.people",
    "remove-enrollment": "speakerdb.cli.people",
    "check": "speakerdb.cli.upkeep",
    "rebuild": "speakerdb.cli.upkeep",
    "db": "speakerdb.cli.upkeep",
}


class LateGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        """All commands, in the order of use."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """One command."""
        if name not in COMMANDS:
            return None
        from importlib import import_module

        command = getattr(import_module(COMMANDS[name]), name.replace("-", "_"))
        assert isinstance(command, click.Command)  # the table above and the modules are one program
        return command


@click.group(cls=LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="speakerdb")
def speakerdb() -> None:
    """Remember voices, and say who is speaking.

    \b
    Exit codes: 0 yes; 1 a clear no (rejected, unknown); 2 usage; 3 a recording that cannot be used;
    4 it does not fit what is stored; 5 the gallery's files cannot be used; 130 interrupted.

    \b
    Example:
      speakerdb enroll ana ana_1.wav ana_2.wav ana_3.wav
      speakerdb identify clip.wav
      speakerdb verify ana clip.wav
    """


def main() -> None:
    """Run the command line; a reader of our output that went away is no error."""
    try:
        speakerdb(prog_name="speakerdb")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
