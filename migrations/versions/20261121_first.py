"""Users, identities, session keys, sessions and login codes."""

import sqlalchemy as sa
from alembic import op

revision = "20261121_01"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "wxsession_users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=True),
        sa.Column("password_hash", sa.String(length=255), nullable=True),
        sa.Column("nickname", sa.String(length=64), nullable=True),
        sa.Column("avatar_url", sa.String(length=1024), nullable=True),
        sa.Column("phone_number_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wxsession_users")),
        sa.UniqueConstraint("username", name=op.f("uq_wxsession_users_username")),
    )
    op.create_table(
        "wxsession_identities",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("appid", sa.String(length=64), nullable=False),
        sa.Column("openid", sa.String(length=128), nullable=False),
        sa.Column("unionid", sa.String(length=128), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["wxsession_users.id"],
            name=op.f("fk_wxsession_identities_user_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wxsession_identities")),
        sa.UniqueConstraint(
            "provider",
            "appid",
            "openid",
            name=op.f("uq_wxsession_identities_provider_appid_openid"),
        ),
        sa.UniqueConstraint(
            "user_id",
            "provider",
            "appid",
            name=op.f("uq_wxsession_identities_user_id_provider_appid"),
        ),
    )
    op.create_index(op.f("ix_wxsession_identities_unionid"), "wxsession_identities", ["unionid"])
    op.create_table(
        "wxsession_login_codes",
        sa.Column("code_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("claim_id", sa.Uuid(), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.Column("identity_id", sa.Uuid(), nullable=True),
        sa.Column("client_address", sa.String(length=45), nullable=True),
        sa.Column("user_agent", sa.String(length=512), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["identity_id"],
            ["wxsession_identities.id"],
            name=op.f("fk_wxsession_login_codes_identity_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_wxsession_login_codes")),
    )
    op.create_index(
        op.f("ix_wxsession_login_codes_expires_at"), "wxsession_login_codes", ["expires_at"]
    )
    op.create_table(
        "wxsession_session_keys",
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("slot", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("obtained_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("slot >= 0 AND slot < 3", name="slot"),
        sa.ForeignKeyConstraint(
            ["identity_id"],
            ["wxsession_identities.id"],
            name=op.f("fk_wxsession_session_keys_identity_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("identity_id", "slot", name=op.f("pk_wxsession_session_keys")),
    )
    op.create_table(
        "wxsession_sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=True),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("auth_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("absolute_expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("idle_expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("purge_on", sa.Date(), nullable=False),
        sa.Column("rotated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.String(length=32), nullable=True),
        sa.Column("client_address", sa.String(length=45), nullable=True),
        sa.Column("user_agent", sa.String(length=512), nullable=True),
        sa.ForeignKeyConstraint(
            ["identity_id"],
            ["wxsession_identities.id"],
            name=op.f("fk_wxsession_sessions_identity_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["wxsession_users.id"],
            name=op.f("fk_wxsession_sessions_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wxsession_sessions")),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Every live session moves its idle expiry; room on the page keeps that update in place.
        op.execute("ALTER TABLE wxsession_sessions SET (fillfactor = 80)")
    op.create_index(
        op.f("ix_wxsession_sessions_purge_on_id"), "wxsession_sessions", ["purge_on", "id"]
    )
    op.create_index(op.f("ix_wxsession_sessions_user_id"), "wxsession_sessions", ["user_id"])


def downgrade() -> None:
    """Take this revision back."""
    op.drop_index(op.f("ix_wxsession_sessions_user_id"), "wxsession_sessions")
    op.drop_index(op.f("ix_wxsession_sessions_purge_on_id"), "wxsession_sessions")
    op.drop_table("wxsession_sessions")
    op.drop_table("wxsession_session_keys")
    op.drop_index(op.f("ix_wxsession_login_codes_expires_at"), "wxsession_login_codes")
    op.drop_table("wxsession_login_codes")
    op.drop_index(op.f("ix_wxsession_identities_unionid"), "wxsession_identities")
    op.drop_table("wxsession_identities")
    op.drop_table("wxsession_users")
