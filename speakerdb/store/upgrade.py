"""`speakerdb db upgrade`: bring an older gallery's tables up to this program's. The only place that imports Alembic."""

from __future__ import annotations

from pathlib import Path

from speakerdb.errors import GalleryDamaged, GalleryTooNew
from speakerdb.store.database import Database
from speakerdb.store.gallery_file import read_revision
from speakerdb.store.schema import OLDER_REVISIONS, REVISION

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def upgrade(path: Path) -> tuple[str, str]:
    """Upgrade a gallery's file in one transaction; the revisions before and after (equal: nothing was due).

    Raises: GalleryDamaged where the file is no gallery; GalleryTooNew.
    """
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

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.migrating() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
