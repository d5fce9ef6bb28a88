"""The first schema."""

from __future__ import annotations

from alembic import op

from director.state import tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    tables.metadata.create_all(op.get_bind())
