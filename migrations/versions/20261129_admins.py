"""Admins of the console: who they are, how they sign in, and where they are signed in."""

import sqlalchemy as sa
from alembic import op

revision = "20261129_02"
down_revision = "20261129_01"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "wxsession_admins",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=True),
        sa.Column("totp_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("totp_step", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wxsession_admins")),
        sa.UniqueConstraint("name", name=op.f("uq_wxsession_admins_name")),
    )
    op.create_table(
        "wxsession_admin_links",
        sa.Column("link_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("admin_id", sa.Uuid(), nullable=False),
        sa.Column("totp_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        _of_an_admin("wxsession_admin_links"),
        sa.PrimaryKeyConstraint("link_hash", name=op.f("pk_wxsession_admin_links")),
    )
    op.create_table(
        "wxsession_admin_sessions",
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("admin_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("second_factor_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("client_address", sa.String(length=45), nullable=True),
        sa.Column("user_agent", sa.String(length=512), nullable=True),
        _of_an_admin("wxsession_admin_sessions"),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_wxsession_admin_sessions")),
    )
    op.create_table(
        "wxsession_admin_passkeys",
        sa.Column("credential_id", sa.LargeBinary(length=1023), nullable=False),
        sa.Column("admin_id", sa.Uuid(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        _of_an_admin("wxsession_admin_passkeys"),
        sa.PrimaryKeyConstraint("credential_id", name=op.f("pk_wxsession_admin_passkeys")),
    )
    for table in _OF_ADMINS:
        op.create_index(op.f(f"ix_{table}_admin_id"), table, ["admin_id"])


def downgrade() -> None:
    """Take this revision back; the admins are forgotten."""
    for table in _OF_ADMINS:
        op.drop_table(table)
    op.drop_table("wxsession_admins")


_OF_ADMINS = ("wxsession_admin_links", "wxsession_admin_sessions", "wxsession_admin_passkeys")


def _of_an_admin(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["admin_id"],
        ["wxsession_admins.id"],
        name=op.f(f"fk_{table}_admin_id"),
        ondelete="CASCADE",
    )
