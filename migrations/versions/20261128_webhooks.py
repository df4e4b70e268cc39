"""Webhooks: how far each has read, and what was not taken."""

import sqlalchemy as sa
from alembic import op

revision = "20261128_02"
down_revision = "20261128_01"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "wxsession_webhook_cursors",
        sa.Column("webhook", sa.String(length=32), nullable=False),
        sa.Column("cursor", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("webhook", name=op.f("pk_wxsession_webhook_cursors")),
    )
    op.create_table(
        "wxsession_webhook_failures",
        sa.Column("webhook", sa.String(length=32), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dead_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["wxsession_events.id"],
            name=op.f("fk_wxsession_webhook_failures_event_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("webhook", "event_id", name=op.f("pk_wxsession_webhook_failures")),
    )
    op.create_index(
        op.f("ix_wxsession_webhook_failures_event_id"), "wxsession_webhook_failures", ["event_id"]
    )
    op.create_index(
        op.f("ix_wxsession_webhook_failures_order"),
        "wxsession_webhook_failures",
        ["webhook", "recorded_at", "event_id"],
    )
    op.create_index(
        op.f("ix_wxsession_webhook_failures_of_user"),
        "wxsession_webhook_failures",
        ["webhook", "user_id", "recorded_at", "event_id"],
    )


def downgrade() -> None:
    """Take this revision back; what a receiver did not take is forgotten."""
    op.drop_table("wxsession_webhook_failures")
    op.drop_table("wxsession_webhook_cursors")
