"""Events get the names of the feed, an order by the database's clock, and a second user."""

import sqlalchemy as sa
from alembic import op

revision = "20261128_01"
down_revision = "20261124_01"
branch_labels = None
depends_on = None

_NAMES = {
    "login": "session.created",
    "registered": "session.created",
    "session_ended": "session.ended",
    "token_reused": "session.ended",
    "merged": "user.merged",
    "bound": "identity.bound",
    "unbound": "identity.unbound",
    "password_changed": "password.changed",
    "user_disabled": "user.disabled",
    "user_enabled": "user.enabled",
    "login_failed": "login.failed",
    "login_locked": "login.locked",
    "registration_failed": "registration.failed",
    "api_key_refused": "api_key.refused",
    "session_key_reset": "session_key.reset",
}
_BACK = {new: old for old, new in reversed(_NAMES.items())}

_events = sa.table(
    "wxsession_events",
    sa.column("event", sa.String()),
    sa.column("reason", sa.String()),
    sa.column("at", sa.DateTime(timezone=True)),
    sa.column("recorded_at", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    """Apply this revision."""
    op.execute(
        sa.update(_events).where(_events.c.event == "token_reused").values(reason="token_reused")
    )
    _rename(_NAMES)
    with op.batch_alter_table("wxsession_events") as batch:
        batch.add_column(sa.Column("new_user_id", sa.Uuid(), nullable=True))
        batch.add_column(
            sa.Column(
                "recorded_at",
                sa.DateTime(timezone=True),
                server_default=sa.text(_now()),
                nullable=False,
            )
        )
    op.execute(sa.update(_events).values(recorded_at=_events.c.at))
    op.create_index(
        op.f("ix_wxsession_events_recorded_at_id"), "wxsession_events", ["recorded_at", "id"]
    )
    op.create_index(
        op.f("ix_wxsession_merged_users_merged_at_old_id"),
        "wxsession_merged_users",
        ["merged_at", "old_id"],
    )


def downgrade() -> None:
    """Take this revision back; what ended by a copied token was a login's end all the same."""
    op.drop_index(op.f("ix_wxsession_merged_users_merged_at_old_id"), "wxsession_merged_users")
    op.drop_index(op.f("ix_wxsession_events_recorded_at_id"), "wxsession_events")
    with op.batch_alter_table("wxsession_events") as batch:
        batch.drop_column("recorded_at")
        batch.drop_column("new_user_id")
    _rename(_BACK)


def _rename(names: dict[str, str]) -> None:
    c = _events.c
    renaming = sa.update(_events).where(c.event.in_(names))
    op.execute(renaming.values(event=sa.case(names, value=c.event, else_=c.event)))


def _now() -> str:
    if op.get_bind().dialect.name == "postgresql":
        return "now()"
    return "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')"
