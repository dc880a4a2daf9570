"""The trace that a job belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds it; jobs that are there have none."""
    op.add_column("autosteer_jobs", sa.Column("trace", sa.String(55)))
