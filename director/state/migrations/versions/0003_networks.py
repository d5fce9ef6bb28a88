"""Networks that were made in clouds, their subnets, and which deployments use them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table("networks",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("orphaned_at", sa.Double),
    )
    op.create_table("subnets",
        sa.Column("network", sa.Text, sa.ForeignKey("networks.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("cid", sa.Text, nullable=False),
        sa.Column("cpi", sa.Text, nullable=False),
        sa.Column("wanted", sa.JSON, nullable=False),
        sa.Column("range", sa.Text, nullable=False),
        sa.Column("gateway", sa.Text, nullable=False),
        sa.Column("reserved", sa.JSON, nullable=False),
        sa.Column("cloud_properties", sa.JSON, nullable=False),
    )
    op.create_table("deployment_networks",
        sa.Column("deployment", sa.Text, sa.ForeignKey("deployments.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("network", sa.Text, sa.ForeignKey("networks.name", ondelete="CASCADE"), primary_key=True),
    )
