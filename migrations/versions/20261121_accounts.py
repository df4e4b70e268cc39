"""Access tokens, failed attempts, audit events; phone numbers that can be found."""

import sqlalchemy as sa
from alembic import op

revision = "20261121_02"
down_revision = "20261121_01"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("users", sa.Column("phone_number_hash", sa.LargeBinary(length=32), nullable=True))
    op.create_index(op.f("ix_users_phone_number_hash"), "users", ["phone_number_hash"])
    op.create_table(
        "access_tokens",
        sa.Column("appid", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claim_id", sa.Uuid(), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("appid", name=op.f("pk_access_tokens")),
    )
    op.create_table(
        "failed_attempts",
        sa.Column("key_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_failed_attempts")),
    )
    op.create_index(op.f("ix_failed_attempts_expires_at"), "failed_attempts", ["expires_at"])
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("appid", sa.String(length=64), nullable=True),
        sa.Column("client_address", sa.String(length=45), nullable=True),
        sa.Column("user_agent", sa.String(length=512), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index(op.f("ix_audit_events_at"), "audit_events", ["at"])
    op.create_index(op.f("ix_audit_events_user_id"), "audit_events", ["user_id"])


def downgrade() -> None:
    """Take this revision back."""
    op.drop_index(op.f("ix_audit_events_user_id"), "audit_events")
    op.drop_index(op.f("ix_audit_events_at"), "audit_events")
    op.drop_table("audit_events")
    op.drop_index(op.f("ix_failed_attempts_expires_at"), "failed_attempts")
    op.drop_table("failed_attempts")
    op.drop_table("access_tokens")
    op.drop_index(op.f("ix_users_phone_number_hash"), "users")
    op.drop_column("users", "phone_number_hash")
