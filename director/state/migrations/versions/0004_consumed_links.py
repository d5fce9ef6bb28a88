"""What a deployment consumed of others' links when it was deployed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table("consumed_links",
        sa.Column("consumer", sa.Text, sa.ForeignKey("deployments.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("group", sa.Text, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("original_name", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
    )
