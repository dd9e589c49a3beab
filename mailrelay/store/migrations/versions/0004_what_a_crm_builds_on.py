"""What a CRM builds on: a journal by organisation, webhooks, tracking, sharing, mail by record (K2, K9, O9, O15, R6, I7 to I21)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Apply this step."""
