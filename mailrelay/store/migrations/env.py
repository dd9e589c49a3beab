"""Alembic's entry: runs the steps on the connection that `store.schema.migrate` hands over."""

from __future__ import annotations

from alembic import context

from mailrelay.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,  # on SQLite too: `migrate` has begun, so that a step is made whole or not at all
)
with context.begin_transaction():
    context.run_migrations()
