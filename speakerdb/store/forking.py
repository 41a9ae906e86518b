"""Connections and `fork`: SQLite's must never be carried into a child, where their locks are nobody's.

A connection that is made anew there is not safe either while SQLite still knows the old ones: it counts locks per file
and process, in memory that was copied. So before a fork no session runs and no connection is open.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Protocol


class Closable(Protocol):
    """What holds connections that it can make anew."""

    def close(self) -> None:
        """Close those that are not in use."""


class Gate:
    """Lets sessions in, but for the moment of a fork."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._own = threading.local()
        self._stores: weakref.WeakSet[Closable] = weakref.WeakSet()

    def watch(self, store: Closable) -> None:
        """Close its connections before a fork."""
        with self._changed:  # a set that grows cannot be gone through
            self._stores.add(store)

    @contextlib.contextmanager
    def passed(self) -> Iterator[None]:
        """Inside, no child is made, but by this thread itself."""
        with self._changed:
            self._inside += 1
            self._own.count = getattr(self._own, "count", 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._own.count -= 1
                self._changed.notify_all()

    def shut(self) -> None:
        """Wait for the sessions of other threads, let no other one in, and close all connections."""
        self._changed.acquire()
        self._changed.wait_for(lambda: self._inside == getattr(self._own, "count", 0))
        for store in list(self._stores):
            store.close()

    def open(self) -> None:
        """Go on, in the parent as in the child."""
        self._changed.release()


GATE = Gate()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=GATE.shut, after_in_parent=GATE.open, after_in_child=GATE.open)
