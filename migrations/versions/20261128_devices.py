"""Codes by which a phone logs another device in."""

import sqlalchemy as sa
from alembic import op

revision = "20261128_06"
down_revision = "20261128_05"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "wxsession_device_codes",
        sa.Column("device_code_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("user_code", sa.String(length=16), nullable=False),
        sa.Column("client_address", sa.String(length=45), nullable=True),
        sa.Column("user_agent", sa.String(length=512), nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("decision", sa.String(length=16), nullable=True),
        sa.Column("polled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("device_code_hash", name=op.f("pk_wxsession_device_codes")),
        sa.UniqueConstraint("user_code", name=op.f("uq_wxsession_device_codes_user_code")),
    )
    op.create_index(
        op.f("ix_wxsession_device_codes_expires_at"), "wxsession_device_codes", ["expires_at"]
    )


def downgrade() -> None:
    """Take this revision back."""
    op.drop_index(op.f("ix_wxsession_device_codes_expires_at"), "wxsession_device_codes")
    op.drop_table("wxsession_device_codes")
