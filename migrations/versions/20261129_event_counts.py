"""Counts by the hour: of events, and of what WeChat answered; runs of jobs, and dead deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "20261129_01"
down_revision = "20261128_08"
branch_labels = None
depends_on = None

_STATES = {"dead": sa.text("dead_at IS NOT NULL"), "waiting": sa.text("dead_at IS NULL")}


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "wxsession_event_counts",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("appid", sa.String(length=64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "hour", "event", "reason", "appid", name=op.f("pk_wxsession_event_counts")
        ),
    )
    op.create_table(
        "wxsession_wechat_counts",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("appid", sa.String(length=64), nullable=False),
        sa.Column("call", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("within_milliseconds", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("milliseconds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "hour",
            "appid",
            "call",
            "outcome",
            "within_milliseconds",
            name=op.f("pk_wxsession_wechat_counts"),
        ),
    )
    op.create_table(
        "wxsession_wechat_states",
        sa.Column("appid", sa.String(length=64), nullable=False),
        sa.Column("succeeded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("call", sa.String(length=64), nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.Column("rid", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("appid", name=op.f("pk_wxsession_wechat_states")),
    )
    op.create_table(
        "wxsession_job_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("milliseconds", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wxsession_job_runs")),
    )
    op.create_index(
        op.f("ix_wxsession_job_runs_job_ended_at_id"),
        "wxsession_job_runs",
        ["job", "ended_at", "id"],
    )
    for name, condition in _STATES.items():
        op.create_index(
            op.f(f"ix_wxsession_webhook_failures_{name}"),
            "wxsession_webhook_failures",
            ["webhook", "recorded_at", "event_id"],
            postgresql_where=condition,
            sqlite_where=condition,
        )


def downgrade() -> None:
    """Take this revision back; what was counted is lost."""
    for name in _STATES:
        op.drop_index(op.f(f"ix_wxsession_webhook_failures_{name}"), "wxsession_webhook_failures")
    op.drop_table("wxsession_job_runs")
    op.drop_table("wxsession_wechat_states")
    op.drop_table("wxsession_wechat_counts")
    op.drop_table("wxsession_event_counts")
