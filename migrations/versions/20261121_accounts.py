"""Access tokens, failed attempts, audit events; phone numbers that can be found."""

import sqlalchemy as sa
from alembic import op

revision = "20261121_02"
down_revision = "20261121_01"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.add_column(
        "wxsession_users", sa.Column("phone_number_hash", sa.LargeBinary(length=32), nullable=True)
    )
    op.create_index(
        op.f("ix_wxsession_users_phone_number_hash"), "wxsession_users", ["phone_number_hash"]
    )
    op.create_table(
        "wxsession_access_tokens",
        sa.Column("appid", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claim_id", sa.Uuid(), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("appid", name=op.f("pk_wxsession_access_tokens")),
    )
    op.create_table(
        "wxsession_failed_attempts",
        sa.Column("key_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_wxsession_failed_attempts")),
    )
    op.create_index(
        op.f("ix_wxsession_failed_attempts_expires_at"), "wxsession_failed_attempts", ["expires_at"]
    )
    op.create_table(
        "wxsession_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("appid", sa.String(length=64), nullable=True),
        sa.Column("client_address", sa.String(length=45), nullable=True),
        sa.Column("user_agent", sa.String(length=512), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wxsession_events")),
    )
    op.create_index(op.f("ix_wxsession_events_at"), "wxsession_events", ["at"])
    op.create_index(op.f("ix_wxsession_events_user_id"), "wxsession_events", ["user_id"])


def downgrade() -> None:
    """Take this revision back."""
    op.drop_index(op.f("ix_wxsession_events_user_id"), "wxsession_events")
    op.drop_index(op.f("ix_wxsession_events_at"), "wxsession_events")
    op.drop_table("wxsession_events")
    op.drop_index(op.f("ix_wxsession_failed_attempts_expires_at"), "wxsession_failed_attempts")
    op.drop_table("wxsession_failed_attempts")
    op.drop_table("wxsession_access_tokens")
    op.drop_index(op.f("ix_wxsession_users_phone_number_hash"), "wxsession_users")
    op.drop_column("wxsession_users", "phone_number_hash")
