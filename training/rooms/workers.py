"""Processes beside the one that asks for them."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process

from speakerdb import settings

WORKERS = 2
"""At most."""


def workers() -> ProcessPoolExecutor:
    """Processes that leave interrupts to this one, and end when it is gone, however it ended."""
    return ProcessPoolExecutor(min(WORKERS, settings.threads()), get_context("spawn"), _begin)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
