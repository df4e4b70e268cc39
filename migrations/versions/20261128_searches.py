"""Indexes for what an operator looks for: a name, an address, a kind of event, who is disabled."""

import sqlalchemy as sa
from alembic import op

revision = "20261128_08"
down_revision = "20261128_07"
branch_labels = None
depends_on = None

_DISABLED = sa.text("disabled_at IS NOT NULL")


def upgrade() -> None:
    """Apply this revision."""
    op.create_index(
        op.f("ix_wxsession_users_nickname"),
        "wxsession_users",
        ["nickname"],
        postgresql_ops={"nickname": "varchar_pattern_ops"},
    )
    op.create_index(
        op.f("ix_wxsession_users_disabled"),
        "wxsession_users",
        ["id"],
        postgresql_where=_DISABLED,
        sqlite_where=_DISABLED,
    )
    op.create_index(
        op.f("ix_wxsession_events_client_address_at"),
        "wxsession_events",
        ["client_address", "at"],
    )
    op.create_index(op.f("ix_wxsession_events_event_at"), "wxsession_events", ["event", "at"])


def downgrade() -> None:
    """Take this revision back."""
    op.drop_index(op.f("ix_wxsession_events_event_at"), "wxsession_events")
    op.drop_index(op.f("ix_wxsession_events_client_address_at"), "wxsession_events")
    op.drop_index(op.f("ix_wxsession_users_disabled"), "wxsession_users")
    op.drop_index(op.f("ix_wxsession_users_nickname"), "wxsession_users")
