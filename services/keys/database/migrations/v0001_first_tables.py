"""Keys, and what was used of their quotas."""

import sqlalchemy as sa
from alembic import op

from services.database.tables import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the first tables."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("prefix", sa.String(20), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("revoked", UtcDateTime),
        sa.Column("requests_per_minute", sa.Integer),
        sa.Column("tokens_per_day", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
    )
    op.create_table(
        "api_key_usage",
        sa.Column("key_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("allowance", sa.Double, nullable=False),
        sa.Column("counted", UtcDateTime, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_key_usage"),
        sa.ForeignKeyConstraint(
            ["key_id"], ["api_keys.id"], name="fk_api_key_usage_key_id_api_keys", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    """Removes them, with all that is in them."""
    op.drop_table("api_key_usage")
    op.drop_table("api_keys")
