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
        "leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=False),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "merged_users",
        sa.Column("old_id", sa.Uuid(), nullable=False),
        sa.Column("new_id", sa.Uuid(), nullable=False),
        sa.Column("merged_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("old_id", name=op.f("pk_merged_users")),
    )
    op.create_index(op.f("ix_merged_users_new_id"), "merged_users", ["new_id"])
    op.create_table(
        "unbound_identities",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("unbound_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_unbound_identities_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["identity_id"],
            ["identities.id"],
            name=op.f("fk_unbound_identities_identity_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "identity_id", name=op.f("pk_unbound_identities")),
    )
    op.create_index(
        op.f("ix_unbound_identities_identity_id"), "unbound_identities", ["identity_id"]
    )
    op.create_index(op.f("ix_identities_openid"), "identities", ["openid"])
    op.add_column("audit_events", sa.Column("actor", sa.String(length=64), nullable=True))
    op.add_column(
        "audit_events", sa.Column("count", sa.Integer(), server_default="1", nullable=False)
    )
    op.create_index(op.f("ix_audit_events_user_id_at_id"), "audit_events", ["user_id", "at", "id"])
    op.drop_index(op.f("ix_audit_events_user_id"), "audit_events")
    _limit_slots("slot >= 0 AND slot < 10")


def downgrade() -> None:
    """Take this revision back; session keys that there is no room for are lost."""
    op.execute("DELETE FROM session_keys WHERE slot >= 3")
    _limit_slots("slot >= 0 AND slot < 3")
    op.create_index(op.f("ix_audit_events_user_id"), "audit_events", ["user_id"])
    op.drop_index(op.f("ix_audit_events_user_id_at_id"), "audit_events")
    op.drop_column("audit_events", "count")
    op.drop_column("audit_events", "actor")
    op.drop_index(op.f("ix_identities_openid"), "identities")
    op.drop_index(op.f("ix_unbound_identities_identity_id"), "unbound_identities")
    op.drop_table("unbound_identities")
    op.drop_index(op.f("ix_merged_users_new_id"), "merged_users")
    op.drop_table("merged_users")
    op.drop_table("leases")


def _limit_slots(condition: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("slot", "session_keys", type_="check")
        op.create_check_constraint("slot", "session_keys", condition)
        return
    # Whether a batch that reads the table copies its CHECK depends on the version of SQLAlchemy.
    table = sa.Table(
        "session_keys",
        sa.MetaData(),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("slot", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("obtained_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(condition, name="slot"),
        sa.ForeignKeyConstraint(
            ["identity_id"],
            ["identities.id"],
            name=op.f("fk_session_keys_identity_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("identity_id", "slot", name=op.f("pk_session_keys")),
    )
    with op.batch_alter_table("session_keys", recreate="always", copy_from=table):
        pass
