"""The first schema."""

from __future__ import annotations

from alembic import op

from mailrelay.store.tables import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply this step."""
    # Until the first release the schema is that of the tables; from then on every change is a step of its own.
    metadata.create_all(op.get_bind())
