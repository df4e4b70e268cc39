"""Leases in rows, merges and unbinds that are remembered, events that count, more session keys."""

import sqlalchemy as sa
from alembic import op

revision = "20261124_01"
down_revision = "20261121_02"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "wxsession_leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=False),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_wxsession_leases")),
    )
    op.create_table(
        "wxsession_merged_users",
        sa.Column("old_id", sa.Uuid(), nullable=False),
        sa.Column("new_id", sa.Uuid(), nullable=False),
        sa.Column("merged_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("old_id", name=op.f("pk_wxsession_merged_users")),
    )
    op.create_index(op.f("ix_wxsession_merged_users_new_id"), "wxsession_merged_users", ["new_id"])
    op.create_table(
        "wxsession_unbound_identities",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("unbound_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["wxsession_users.id"],
            name=op.f("fk_wxsession_unbound_identities_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["identity_id"],
            ["wxsession_identities.id"],
            name=op.f("fk_wxsession_unbound_identities_identity_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "user_id", "identity_id", name=op.f("pk_wxsession_unbound_identities")
        ),
    )
    op.create_index(
        op.f("ix_wxsession_unbound_identities_identity_id"),
        "wxsession_unbound_identities",
        ["identity_id"],
    )
    op.create_index(op.f("ix_wxsession_identities_openid"), "wxsession_identities", ["openid"])
    op.add_column("wxsession_events", sa.Column("actor", sa.String(length=64), nullable=True))
    op.add_column(
        "wxsession_events", sa.Column("count", sa.Integer(), server_default="1", nullable=False)
    )
    op.create_index(
        op.f("ix_wxsession_events_user_id_at_id"), "wxsession_events", ["user_id", "at", "id"]
    )
    op.drop_index(op.f("ix_wxsession_events_user_id"), "wxsession_events")
    _limit_slots("slot >= 0 AND slot < 10")


def downgrade() -> None:
    """Take this revision back; session keys that there is no room for are lost."""
    op.execute("DELETE FROM wxsession_session_keys WHERE slot >= 3")
    _limit_slots("slot >= 0 AND slot < 3")
    op.create_index(op.f("ix_wxsession_events_user_id"), "wxsession_events", ["user_id"])
    op.drop_index(op.f("ix_wxsession_events_user_id_at_id"), "wxsession_events")
    op.drop_column("wxsession_events", "count")
    op.drop_column("wxsession_events", "actor")
    op.drop_index(op.f("ix_wxsession_identities_openid"), "wxsession_identities")
    op.drop_index(
        op.f("ix_wxsession_unbound_identities_identity_id"), "wxsession_unbound_identities"
    )
    op.drop_table("wxsession_unbound_identities")
    op.drop_index(op.f("ix_wxsession_merged_users_new_id"), "wxsession_merged_users")
    op.drop_table("wxsession_merged_users")
    op.drop_table("wxsession_leases")


def _limit_slots(condition: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("slot", "wxsession_session_keys", type_="check")
        op.create_check_constraint("slot", "wxsession_session_keys", condition)
        return
    # Whether a batch that reads the table copies its CHECK depends on the version of SQLAlchemy.
    table = sa.Table(
        "wxsession_session_keys",
        sa.MetaData(),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("slot", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("obtained_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(condition, name="slot"),
        sa.ForeignKeyConstraint(
            ["identity_id"],
            ["wxsession_identities.id"],
            name=op.f("fk_wxsession_session_keys_identity_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("identity_id", "slot", name=op.f("pk_wxsession_session_keys")),
    )
    with op.batch_alter_table("wxsession_session_keys", recreate="always", copy_from=table):
        pass
