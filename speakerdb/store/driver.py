"""SQLite's own connection, beneath SQLAlchemy's and in the same transaction."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Connection


def driver(connection: Connection) -> sqlite3.Connection:
    """For what SQLAlchemy has no words for, and for the few statements of every answer: they take a fifth as long."""
    beneath: Any = connection.connection.driver_connection
    found: sqlite3.Connection = beneath
    return found
