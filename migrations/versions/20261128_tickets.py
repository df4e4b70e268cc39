"""Tickets, and sessions that another one opened in a web-view."""

import sqlalchemy as sa
from alembic import op

revision = "20261128_04"
down_revision = "20261128_03"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "wxsession_tickets",
        sa.Column("ticket_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("audience", sa.String(length=280), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("ticket_hash", name=op.f("pk_wxsession_tickets")),
    )
    op.create_index(op.f("ix_wxsession_tickets_expires_at"), "wxsession_tickets", ["expires_at"])
    op.add_column("wxsession_sessions", sa.Column("opened_by", sa.Uuid(), nullable=True))


def downgrade() -> None:
    """Take this revision back; nobody could say any more with which session they end."""
    op.execute("DELETE FROM wxsession_sessions WHERE opened_by IS NOT NULL")
    op.drop_column("wxsession_sessions", "opened_by")
    op.drop_index(op.f("ix_wxsession_tickets_expires_at"), "wxsession_tickets")
    op.drop_table("wxsession_tickets")
