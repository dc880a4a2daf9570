"""Variants, revisions of features, and vectors of texts."""

import sqlalchemy as sa
from alembic import op

from services.database.tables import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the first tables."""
    op.create_table(
        "variants",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("steering", sa.LargeBinary, nullable=False),
        sa.Column("etag", sa.String(32), nullable=False),
        sa.Column("etag_before_deletion", sa.String(32), nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("updated", UtcDateTime, nullable=False),
        sa.Column("deleted", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_variants"),
    )
    living = sa.text("deleted IS NULL")
    op.create_index(
        "uq_variants_living_name",
        "variants",
        ["owner", "name"],
        unique=True,
        sqlite_where=living,
        postgresql_where=living,
    )
    op.create_index("ix_variants_newest", "variants", ["owner", "created", "id"])
    op.create_table(
        "variant_requests",
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("request_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("content_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("variant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.PrimaryKeyConstraint("owner", "request_id", name="pk_variant_requests"),
        sa.ForeignKeyConstraint(
            ["variant_id"],
            ["variants.id"],
            name="fk_variant_requests_variant_id_variants",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "feature_revisions",
        sa.Column("sae", sa.Text, nullable=False),
        sa.Column("feature", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("previous_label", sa.Text, nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("request_id", sa.Uuid(as_uuid=False)),
        sa.Column("content_digest", sa.LargeBinary(32)),
        sa.PrimaryKeyConstraint("sae", "feature", "revision", name="pk_feature_revisions"),
    )
    op.create_index("uq_feature_revisions_request", "feature_revisions", ["owner", "request_id"], unique=True)
    op.create_table(
        "embeddings",
        sa.Column("encoder", sa.String(200), nullable=False),
        sa.Column("text_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("encoder", "text_digest", name="pk_embeddings"),
    )


def downgrade() -> None:
    """Removes them, with all that is in them."""
    for table in ("embeddings", "feature_revisions", "variant_requests", "variants"):
        op.drop_table(table)
