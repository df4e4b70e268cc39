"""What jobs did, and which request caused an event."""

import sqlalchemy as sa
from alembic import op

revision = "20261128_05"
down_revision = "20261128_04"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "wxsession_job_results",
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("item", sa.String(length=64), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("succeeded_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("job", "item", name=op.f("pk_wxsession_job_results")),
    )
    op.add_column("wxsession_events", sa.Column("request_id", sa.String(length=128), nullable=True))


def downgrade() -> None:
    """Undo this revision."""
    op.drop_column("wxsession_events", "request_id")
    op.drop_table("wxsession_job_results")
