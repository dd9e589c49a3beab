"""What all tables share: where they are registered, and the types of their columns."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Index, MetaData, text
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Json = JSON().with_variant(JSONB(), "postgresql")


def partial(name: str, *columns: str | Column[object], where: str, unique: bool = False) -> Index:
    """An index over the few rows that are in flight, so that its size does not grow with history."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))
