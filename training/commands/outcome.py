"""How the commands of training end: one line and an exit code for what is wrong, and no other program's notices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool

import click

from speakerdb.errors import InputError, SpeakerdbError
from speakerdb.quiet import stderr_closed


class Refused(click.ClickException):
    """An error that was foreseen: its message on one line of stderr, and its exit code."""

    def __init__(self, message: str, exit_code: int = InputError.exit_code) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code


@contextlib.contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """The exit code of speakerdb's own errors; 3 for a corpus, list or folder that cannot be used, else 1."""
    try:
        yield
    except SpeakerdbError as error:
        raise Refused(str(error), error.exit_code) from error
    except ModuleNotFoundError as error:
        extras = "train,further" if error.name == "torch" else "cpu,train"
        raise Refused(f"{error.name} is not installed; run: pip install '.[{extras}]'", 1) from error
    except BrokenProcessPool as error:
        raise Refused("a process beside this one was ended, perhaps for want of memory; run it again", 1) from error
    except (ValueError, OSError) as error:
        raise Refused(str(error)) from error


def import_tensorflow() -> None:
    """Import TensorFlow and let it look for a GPU, without what it prints of that before its log can be set."""
    with errors_as_exit_codes(), stderr_closed():
        import tensorflow as tf

        tf.config.list_physical_devices()
