"""`speakerdb db upgrade`: bring an older gallery's tables up to this program's. The only place that imports Alembic."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect

from speakerdb.errors import GalleryDamaged, GalleryTooNew
from speakerdb.store.database import Database
from speakerdb.store.fields import DamagedRow
from speakerdb.store.gallery_file import is_there, read_revision
from speakerdb.store.schema import METADATA, OLDER_REVISIONS, REVISION

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def upgrade(path: Path) -> tuple[str, str]:
    """Upgrade a gallery's file in one transaction; the revisions before and after (equal: nothing was due).

    Raises: GalleryDamaged where the file is no gallery, or not what its schema says; GalleryTooNew.
    """
    is_there(path)
    database = Database(path)
    try:
        before = read_revision(database)
        if before is None:
            raise GalleryDamaged(str(path), "not a gallery: its tables are missing")
        if before == REVISION:
            return before, before
        if before not in OLDER_REVISIONS:
            raise GalleryTooNew(str(path), before)
        run_migrations(database)
        return before, REVISION
    finally:
        database.close()


def run_migrations(database: Database) -> None:
    """Apply every migration that the file has not seen."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.migrating() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise DamagedRow(str(error)) from error
        _require_tables(connection)


def _require_tables(connection: Connection) -> None:
    """Raise DamagedRow where an upgrade left tables or columns missing: they were missing before it."""
    found = inspect(connection)
    there = {table: {column["name"] for column in found.get_columns(table)} for table in found.get_table_names()}
    for table in METADATA.sorted_tables:
        missing = set(table.columns.keys()) - there.get(table.name, set())
        if missing:
            raise DamagedRow(f"{table.name} has no {', '.join(sorted(missing))}")
