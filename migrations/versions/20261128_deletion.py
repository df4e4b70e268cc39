"""Users are deleted at once and cleared later; codes keep no address; no slow foreign keys."""

import sqlalchemy as sa
from alembic import op

revision = "20261128_03"
down_revision = "20261128_02"
branch_labels = None
depends_on = None

# PostgreSQL and SQLite look for what refers to a deleted identity, without an index, row by row.
_SLOW = {"wxsession_sessions": "SET NULL", "wxsession_login_codes": "CASCADE"}


def upgrade() -> None:
    """Apply this revision."""
    op.add_column(
        "wxsession_users", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.create_index(
        "ix_wxsession_users_deleted_at",
        "wxsession_users",
        ["deleted_at"],
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
        sqlite_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.add_column(
        "wxsession_login_codes", sa.Column("client_hash", sa.LargeBinary(length=32), nullable=True)
    )
    op.add_column("wxsession_events", sa.Column("openids", sa.Text(), nullable=True))
    op.execute("UPDATE wxsession_login_codes SET client_address = NULL, user_agent = NULL")
    for table in _SLOW:
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(op.f(f"fk_{table}_identity_id"), type_="foreignkey")


def downgrade() -> None:
    """Take this revision back; users that are not cleared yet stay disabled."""
    for table, ondelete in _SLOW.items():
        op.execute(
            f"UPDATE {table} SET identity_id = NULL WHERE identity_id NOT IN"  # noqa: S608 - no value is in it
            " (SELECT id FROM wxsession_identities)"
        )
        with op.batch_alter_table(table) as batch:
            batch.create_foreign_key(
                op.f(f"fk_{table}_identity_id"),
                "wxsession_identities",
                ["identity_id"],
                ["id"],
                ondelete=ondelete,
            )
    op.drop_column("wxsession_events", "openids")
    op.drop_column("wxsession_login_codes", "client_hash")
    op.drop_index("ix_wxsession_users_deleted_at", "wxsession_users")
    op.drop_column("wxsession_users", "deleted_at")
