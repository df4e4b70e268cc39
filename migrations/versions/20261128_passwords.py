"""Passwords that an operator sets are over after a while."""

import sqlalchemy as sa
from alembic import op

revision = "20261128_07"
down_revision = "20261128_06"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.add_column(
        "wxsession_users",
        sa.Column("password_expires_at", sa.DateTime(timezone=True), nullable=True),
    )


def downgrade() -> None:
    """Take this revision back."""
    op.drop_column("wxsession_users", "password_expires_at")
