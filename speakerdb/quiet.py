"""What libraries write to stderr by themselves, kept from the user."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from speakerdb.forks import lock_across_forks

_lock = lock_across_forks()
"""A child made in such a moment would have no stderr, and wait for ever."""


@contextlib.contextmanager
def stderr_open() -> Iterator[None]:
    """Nobody has it closed inside: what is written arrives."""
    with _lock:
        yield


@contextlib.contextmanager
def stderr_closed() -> Iterator[None]:
    """Send file descriptor 2 itself to nowhere for a moment: these notices are not Python's."""
    with _lock:
        try:
            sys.stderr.flush()
            kept = os.dup(2)
        except (OSError, AttributeError, ValueError):  # no stderr at all: nothing to protect
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(nowhere)
            os.close(kept)
