"""Alembic's environment: run by `speakerdb db upgrade` on an open connection, or by `alembic` on its own."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine

from speakerdb.store.schema import METADATA

connection = context.config.attributes.get("connection")
if connection is not None:
    context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
    context.run_migrations()
else:
    url = context.config.get_main_option("sqlalchemy.url") or ""
    with create_engine(url).begin() as own:
        context.configure(connection=own, target_metadata=METADATA, render_as_batch=True)
        context.run_migrations()
