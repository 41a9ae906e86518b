"""SQLite's own connection, beneath SQLAlchemy's and in the same transaction."""

from __future__ import annotations

import contextlib
import sqlite3
import weakref
from typing import Any

from sqlalchemy import Connection

MANY = 1000
"""Cursors after which those that are gone are forgotten."""


class Driver(sqlite3.Connection):
    """A connection that knows its cursors, to close them with the session that they belong to.

    The traceback of an error keeps what was being read. An open cursor keeps the state that it reads, so that neither
    could the log be cut to nothing nor what was removed be erased as long as somebody has the error.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._cursors: list[weakref.ref[sqlite3.Cursor]] = []  # no set, whose callbacks would swallow a Ctrl-C

    def cursor(self, *args: Any, **options: Any) -> Any:
        """As sqlite3's; `execute` comes here, too."""
        made = super().cursor(*args, **options)
        if len(self._cursors) >= MANY:
            self._cursors = [one for one in self._cursors if one() is not None]
        self._cursors.append(weakref.ref(made))
        return made

    def end_session(self) -> None:
        """Close the cursors that are left; SQLAlchemy may have closed the connection, at an interruption."""
        with contextlib.suppress(sqlite3.ProgrammingError):
            for one in self._cursors:
                left = one()
                if left is not None:
                    left.close()
        self._cursors.clear()


def driver(connection: Connection) -> Driver:
    """For what SQLAlchemy has no words for, and for the few statements of every answer: they take a fifth as long."""
    beneath: Any = connection.connection.driver_connection
    found: Driver = beneath
    return found
