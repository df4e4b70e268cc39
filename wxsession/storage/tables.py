"""The tables, and the conditions under which a session's row is live.

Statements that write repeat these conditions, because another process may have ended the session
since it was read.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Date,
    ForeignKey,
    FromClause,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    and_,
    exists,
    or_,
    select,
    text,
)

from wxsession.storage.database import Json, UtcDateTime, metadata, transaction_time

WECHAT = "wechat"
RING_SIZE = 3
MOST_SESSION_KEYS = 10
"""The number of session_keys that are stored for one identity at most."""
LONGEST_USERNAME = 64
LONGEST_NICKNAME = 64
LONGEST_AVATAR_URL = 1024
LONGEST_USER_AGENT = 512
LONGEST_ADDRESS = 45
LONGEST_ACTOR = 64
LONGEST_WEBHOOK = 32
LONGEST_ORIGIN = 280  # a scheme, a host name of at most 253 characters, and a port
LONGEST_REQUEST_ID = 128
LONGEST_CALL = 64
LONGEST_OUTCOME = 32
LONGEST_ADMIN_NAME = 32
LONGEST_PASSKEY_NAME = 64

users = Table(
    "wxsession_users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("username", String(LONGEST_USERNAME), unique=True),
    Column("password_hash", String(255)),
    # Of a password that an operator set: two people know it. NULL: it stays.
    Column("password_expires_at", UtcDateTime),
    Column("nickname", String(LONGEST_NICKNAME)),
    Column("avatar_url", String(LONGEST_AVATAR_URL)),
    Column("phone_number_sealed", LargeBinary),
    Column("phone_number_hash", LargeBinary(32), index=True),
    Column("disabled_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    # Since when the user is gone. The row stays, empty and disabled, until no session refers to it.
    Column("deleted_at", UtcDateTime),
    # Compared by bytes, so that names with the same beginning are adjacent in any locale.
    Index(None, "nickname", postgresql_ops={"nickname": "varchar_pattern_ops"}),
    Index(
        "ix_wxsession_users_disabled",
        "id",
        postgresql_where=text("disabled_at IS NOT NULL"),
        sqlite_where=text("disabled_at IS NOT NULL"),
    ),
)
Index(
    "ix_wxsession_users_deleted_at",
    users.c.deleted_at,
    postgresql_where=users.c.deleted_at.is_not(None),
    sqlite_where=users.c.deleted_at.is_not(None),
)

identities = Table(
    "wxsession_identities",
    metadata,
    Column("id", Uuid, primary_key=True),
    # Deferred, so that the identity can be inserted first, and only its winner adds a user.
    Column(
        "user_id",
        Uuid,
        ForeignKey("wxsession_users.id", deferrable=True, initially="DEFERRED"),
        nullable=False,
    ),
    Column("provider", String(16), nullable=False),
    Column("appid", String(64), nullable=False),
    Column("openid", String(128), nullable=False, index=True),
    Column("unionid", String(128), index=True),
    # Since when it belongs to its user; the time of its creation is in the id.
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("provider", "appid", "openid"),
    UniqueConstraint("user_id", "provider", "appid"),
)

session_keys = Table(
    "wxsession_session_keys",
    metadata,
    Column(
        "identity_id",
        Uuid,
        ForeignKey("wxsession_identities.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("obtained_at", UtcDateTime, nullable=False),
    CheckConstraint(f"slot >= 0 AND slot < {MOST_SESSION_KEYS}", name="slot"),
)

# Identities that a user unbound: a unionid does not link them to the account again.
unbound_identities = Table(
    "wxsession_unbound_identities",
    metadata,
    Column("user_id", Uuid, ForeignKey("wxsession_users.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "identity_id",
        Uuid,
        ForeignKey("wxsession_identities.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
    Column("unbound_at", UtcDateTime, nullable=False),
)

sessions = Table(
    "wxsession_sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column(
        "user_id",
        Uuid,
        ForeignKey("wxsession_users.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    # No foreign key, here and in `login_codes`: to delete an identity would read the whole table.
    Column("identity_id", Uuid),
    Column("token_hash", LargeBinary(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("auth_time", UtcDateTime, nullable=False),
    Column("absolute_expires_at", UtcDateTime, nullable=False),
    Column("idle_expires_at", UtcDateTime, nullable=False),
    Column("purge_on", Date, nullable=False),
    Column("rotated_at", UtcDateTime),
    Column("confirmed_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("end_reason", String(32)),
    Column("client_address", String(LONGEST_ADDRESS)),
    Column("user_agent", String(LONGEST_USER_AGENT)),
    # The session that opened it, for one of a web-view: it is live no longer than that one. No
    # foreign key: a purge would look for referring rows each time.
    Column("opened_by", Uuid),
    Index(None, "purge_on", "id"),
)

login_codes = Table(
    "wxsession_login_codes",
    metadata,
    Column("code_hash", LargeBinary(32), primary_key=True),
    Column("claim_id", Uuid, nullable=False),
    Column("outcome", String(32)),
    Column("identity_id", Uuid),
    Column("client_hash", LargeBinary(32)),
    # Empty: code of the schema before this one, which may run during an upgrade, writes them.
    Column("client_address", String(LONGEST_ADDRESS)),
    Column("user_agent", String(LONGEST_USER_AGENT)),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

# No foreign key: a ticket has expired long before its session may be purged.
tickets = Table(
    "wxsession_tickets",
    metadata,
    Column("ticket_hash", LargeBinary(32), primary_key=True),
    Column("session_id", Uuid, nullable=False),
    Column("audience", String(LONGEST_ORIGIN), nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

# Devices that wait to be let in; no foreign key, as above.
device_codes = Table(
    "wxsession_device_codes",
    metadata,
    Column("device_code_hash", LargeBinary(32), primary_key=True),
    Column("user_code", String(16), nullable=False, unique=True),
    Column("client_address", String(LONGEST_ADDRESS)),
    Column("user_agent", String(LONGEST_USER_AGENT)),
    Column("session_id", Uuid),
    Column("decision", String(16)),
    Column("polled_at", UtcDateTime),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

access_tokens = Table(
    "wxsession_access_tokens",
    metadata,
    Column("appid", String(64), primary_key=True),
    Column("sealed", LargeBinary),
    Column("expires_at", UtcDateTime),
    Column("claim_id", Uuid),
    Column("claimed_until", UtcDateTime),
)

failed_attempts = Table(
    "wxsession_failed_attempts",
    metadata,
    Column("key_hash", LargeBinary(32), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

# Users that were merged; `new_id` is an existing user, also after further merges.
merged_users = Table(
    "wxsession_merged_users",
    metadata,
    Column("old_id", Uuid, primary_key=True),
    Column("new_id", Uuid, nullable=False, index=True),
    Column("merged_at", UtcDateTime, nullable=False),
    Index(None, "merged_at", "old_id"),
)

# Locks of jobs that must not run twice at a time; `held_until` is by the database's clock.
leases = Table(
    "wxsession_leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", Uuid, nullable=False),
    Column("held_until", UtcDateTime, nullable=False),
)

# What each job has done in which table since ever, and when it last finished.
job_results = Table(
    "wxsession_job_results",
    metadata,
    Column("job", String(64), primary_key=True),
    Column("item", String(64), primary_key=True),
    Column("total", BigInteger, nullable=False),
    Column("succeeded_at", UtcDateTime),
)

# What each run of a job did, for as long as `job_results.record` keeps it.
job_runs = Table(
    "wxsession_job_runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("job", String(64), nullable=False),
    Column("ended_at", UtcDateTime, nullable=False),
    Column("milliseconds", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("complete", Boolean, nullable=False),
    Index(None, "job", "ended_at", "id"),
)

# No foreign keys: an event outlives its user and its session.
audit_events = Table(
    "wxsession_events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("event", String(32), nullable=False),
    Column("reason", String(32)),
    Column("user_id", Uuid),
    # Of who was merged or split: the id afterwards.
    Column("new_user_id", Uuid),
    Column("session_id", Uuid),
    Column("appid", String(64)),
    Column("client_address", String(LONGEST_ADDRESS)),
    Column("user_agent", String(LONGEST_USER_AGENT)),
    Column("actor", String(LONGEST_ACTOR)),
    # How many times it happened: refusals that are alike share a row.
    Column("count", Integer, nullable=False, server_default="1"),
    # Of the request that caused it, as the log has it.
    Column("request_id", String(LONGEST_REQUEST_ID)),
    # Of who was deleted, by appid: until the purge, for programs that know a user by them.
    Column("openids", Json),
    # By the database's clock, which orders what several hosts write: the feed is read along it.
    Column("recorded_at", UtcDateTime, nullable=False, server_default=transaction_time()),
    Index(None, "user_id", "at", "id"),
    Index(None, "client_address", "at"),
    Index(None, "event", "at"),
    Index(None, "recorded_at", "id"),
)

# How often what happened, in each hour that is over: written once, by the purge, and kept when the
# events are gone. A reason or an app that an event has not is empty: NULLs would not be unique.
event_counts = Table(
    "wxsession_event_counts",
    metadata,
    Column("hour", UtcDateTime, primary_key=True),
    Column("event", String(32), primary_key=True),
    Column("reason", String(32), primary_key=True),
    Column("appid", String(64), primary_key=True),
    Column("count", BigInteger, nullable=False),
)

# What WeChat answered in each hour: a row for each outcome, and for each bucket of a histogram of
# how long it took. The longest one has no bound, and is the number `OPEN_END`.
wechat_counts = Table(
    "wxsession_wechat_counts",
    metadata,
    Column("hour", UtcDateTime, primary_key=True),
    Column("appid", String(64), primary_key=True),
    Column("call", String(LONGEST_CALL), primary_key=True),
    Column("outcome", String(LONGEST_OUTCOME), primary_key=True),
    Column("within_milliseconds", Integer, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
    Column("milliseconds", BigInteger, nullable=False),
)

# When WeChat last did what it was asked for an app, and what it last refused.
wechat_states = Table(
    "wxsession_wechat_states",
    metadata,
    Column("appid", String(64), primary_key=True),
    Column("succeeded_at", UtcDateTime),
    Column("failed_at", UtcDateTime),
    Column("call", String(LONGEST_CALL)),
    Column("outcome", String(LONGEST_OUTCOME)),
    Column("rid", String(64)),
)


# How far a webhook has read the feed, and for how long a receiver that fails is left alone.
webhook_cursors = Table(
    "wxsession_webhook_cursors",
    metadata,
    Column("webhook", String(LONGEST_WEBHOOK), primary_key=True),
    Column("cursor", String(64), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("paused_until", UtcDateTime),
)

# Events that a receiver did not take, and those that wait for them. The dead ones stay until they
# are replayed, or the event is purged.
webhook_failures = Table(
    "wxsession_webhook_failures",
    metadata,
    Column("webhook", String(LONGEST_WEBHOOK), primary_key=True),
    Column(
        "event_id",
        ForeignKey("wxsession_events.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("user_id", Uuid),
    Column("attempts", Integer, nullable=False),
    Column("reason", String(64)),
    Column("next_at", UtcDateTime, nullable=False),
    Column("dead_at", UtcDateTime),
    Index("ix_wxsession_webhook_failures_order", "webhook", "recorded_at", "event_id"),
    Index("ix_wxsession_webhook_failures_of_user", "webhook", "user_id", "recorded_at", "event_id"),
)
for _name, _condition in {
    "dead": webhook_failures.c.dead_at.is_not(None),
    "waiting": webhook_failures.c.dead_at.is_(None),
}.items():
    Index(
        f"ix_wxsession_webhook_failures_{_name}",
        webhook_failures.c.webhook,
        webhook_failures.c.recorded_at,
        webhook_failures.c.event_id,
        postgresql_where=_condition,
        sqlite_where=_condition,
    )

# Who may use the console.
admins = Table(
    "wxsession_admins",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", String(LONGEST_ADMIN_NAME), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("password_hash", String(255)),
    Column("totp_sealed", LargeBinary),
    # The period of the last code that was accepted: none is accepted twice.
    Column("totp_step", BigInteger),
    Column("created_at", UtcDateTime, nullable=False),
    Column("disabled_at", UtcDateTime),
    Column("last_login_at", UtcDateTime),
)


def _admin_id() -> Column[UUID]:
    return Column(
        "admin_id",
        Uuid,
        ForeignKey("wxsession_admins.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    )


# Links by which an admin sets a password and a second factor, whose secret waits here.
admin_links = Table(
    "wxsession_admin_links",
    metadata,
    Column("link_hash", LargeBinary(32), primary_key=True),
    _admin_id(),
    Column("totp_sealed", LargeBinary, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

admin_sessions = Table(
    "wxsession_admin_sessions",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    _admin_id(),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime, nullable=False),
    Column("second_factor_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("client_address", String(LONGEST_ADDRESS)),
    Column("user_agent", String(LONGEST_USER_AGENT)),
)

admin_passkeys = Table(
    "wxsession_admin_passkeys",
    metadata,
    Column("credential_id", LargeBinary(1023), primary_key=True),
    _admin_id(),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("name", String(LONGEST_PASSKEY_NAME), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # No response to a challenge of before is accepted: so none is accepted twice.
    Column("last_used_at", UtcDateTime, nullable=False),
)


def is_live(
    now: datetime | BindParameter[datetime], of: FromClause = sessions
) -> ColumnElement[bool]:
    """Return the condition that a session is usable at `now`, apart from the state of its user."""
    return and_(of.c.ended_at.is_(None), of.c.idle_expires_at > now, of.c.absolute_expires_at > now)


def has_live_opener(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a session was not opened in a web-view, or by one that is live."""
    opener = sessions.alias("opener")
    # A value and no EXISTS, for which PostgreSQL might look at all sessions first.
    its = (
        select(is_live(now, opener)).where(opener.c.id == sessions.c.opened_by).correlate(sessions)
    )
    return or_(sessions.c.opened_by.is_(None), its.scalar_subquery())


def has_enabled_user() -> ColumnElement[bool]:
    """Return the condition that a session's user is not disabled."""
    enabled = exists().where(users.c.id == sessions.c.user_id, users.c.disabled_at.is_(None))
    return enabled.correlate(sessions)  # not with `users`, which the outer query may join
