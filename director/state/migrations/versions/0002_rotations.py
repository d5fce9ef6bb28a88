"""What variables were made with, and rotations of certificates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("variables", sa.Column("options", sa.LargeBinary))
    op.create_table("rotations",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("stage", sa.Integer, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("versions", sa.JSON, nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
    )
