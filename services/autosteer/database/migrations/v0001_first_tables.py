"""Jobs with their requests, checkpoints, trials and events."""

import sqlalchemy as sa
from alembic import op

from services.database.tables import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the first tables."""
    op.create_table(
        "autosteer_jobs",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("stage", sa.String(20), nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("started", UtcDateTime),
        sa.Column("taken", UtcDateTime),
        sa.Column("ended", UtcDateTime),
        sa.Column("due", UtcDateTime, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("outages", sa.Integer, nullable=False),
        sa.Column("deaths", sa.Integer, nullable=False),
        sa.Column("lease", sa.Uuid(as_uuid=False)),
        sa.Column("lease_end", UtcDateTime),
        sa.Column("last_sequence", sa.BigInteger, nullable=False),
        sa.Column("best", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("error_reason", sa.String(50), nullable=False),
        sa.Column("error_message", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_autosteer_jobs"),
    )
    op.create_index("ix_autosteer_jobs_newest", "autosteer_jobs", ["owner", "created", "id"])
    op.create_index("ix_autosteer_jobs_queue", "autosteer_jobs", ["state", "turn", "created"])
    op.create_table(
        "autosteer_requests",
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("request_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("content_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("job_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.PrimaryKeyConstraint("owner", "request_id", name="pk_autosteer_requests"),
        _of_job("autosteer_requests"),
    )
    op.create_table(
        "autosteer_checkpoints",
        sa.Column("job_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "name", name="pk_autosteer_checkpoints"),
        _of_job("autosteer_checkpoints"),
    )
    op.create_table(
        "autosteer_trials",
        sa.Column("job_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_autosteer_trials"),
        _of_job("autosteer_trials"),
    )
    op.create_table(
        "autosteer_events",
        sa.Column("job_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "sequence", name="pk_autosteer_events"),
        sa.UniqueConstraint("job_id", "key", name="uq_autosteer_events_key"),
        _of_job("autosteer_events"),
    )


def downgrade() -> None:
    """Removes them, with all that is in them."""
    for table in ("events", "trials", "checkpoints", "requests", "jobs"):
        op.drop_table(f"autosteer_{table}")


def _of_job(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["job_id"], ["autosteer_jobs.id"], name=f"fk_{table}_job_id_autosteer_jobs", ondelete="CASCADE"
    )
