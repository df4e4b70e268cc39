"""The tables, and the rules that a row can answer by itself.

A session is judged here and nowhere else: whether it is live, and what a presented token is to
it. Services decide on these answers; statements repeat the live conditions, because between a
judgement and a write another process may have ended the session.
"""

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Select,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    and_,
    exists,
    select,
)

from wxsession.db import UtcDateTime, metadata
from wxsession.errors import SessionEnded, SessionExpired
from wxsession.tokens import SessionToken

WECHAT = "wechat"
RING_SIZE = 3
MOST_SESSION_KEYS = 10
"""How many session_keys of one identity there is room for."""
LONGEST_USERNAME = 64
LONGEST_NICKNAME = 64
LONGEST_AVATAR_URL = 1024
LONGEST_USER_AGENT = 512
LONGEST_ADDRESS = 45
LONGEST_ACTOR = 64

users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("username", String(LONGEST_USERNAME), unique=True),
    Column("password_hash", String(255)),
    Column("nickname", String(LONGEST_NICKNAME)),
    Column("avatar_url", String(LONGEST_AVATAR_URL)),
    Column("phone_number_sealed", LargeBinary),
    Column("phone_number_hash", LargeBinary(32), index=True),
    Column("disabled_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
)

identities = Table(
    "identities",
    metadata,
    Column("id", Uuid, primary_key=True),
    # Deferred, so that the identity is claimed first and its user made only by the winner.
    Column(
        "user_id",
        Uuid,
        ForeignKey("users.id", deferrable=True, initially="DEFERRED"),
        nullable=False,
    ),
    Column("provider", String(16), nullable=False),
    Column("appid", String(64), nullable=False),
    Column("openid", String(128), nullable=False, index=True),
    Column("unionid", String(128), index=True),
    # Since when it belongs to its user; the id says when it was made.
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("provider", "appid", "openid"),
    UniqueConstraint("user_id", "provider", "appid"),
)

session_keys = Table(
    "session_keys",
    metadata,
    Column("identity_id", Uuid, ForeignKey("identities.id", ondelete="CASCADE"), primary_key=True),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("obtained_at", UtcDateTime, nullable=False),
    CheckConstraint(f"slot >= 0 AND slot < {MOST_SESSION_KEYS}", name="slot"),
)

# What a user took off the account: a unionid that is learnt later does not bring it back.
unbound_identities = Table(
    "unbound_identities",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "identity_id",
        Uuid,
        ForeignKey("identities.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
    Column("unbound_at", UtcDateTime, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("identity_id", Uuid, ForeignKey("identities.id", ondelete="SET NULL")),
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
    Index(None, "purge_on", "id"),
)

login_codes = Table(
    "login_codes",
    metadata,
    Column("code_hash", LargeBinary(32), primary_key=True),
    Column("claim_id", Uuid, nullable=False),
    Column("outcome", String(32)),
    Column("identity_id", Uuid, ForeignKey("identities.id", ondelete="CASCADE")),
    Column("client_address", String(LONGEST_ADDRESS)),
    Column("user_agent", String(LONGEST_USER_AGENT)),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

access_tokens = Table(
    "access_tokens",
    metadata,
    Column("appid", String(64), primary_key=True),
    Column("sealed", LargeBinary),
    Column("expires_at", UtcDateTime),
    Column("claim_id", Uuid),
    Column("claimed_until", UtcDateTime),
)

failed_attempts = Table(
    "failed_attempts",
    metadata,
    Column("key_hash", LargeBinary(32), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

# Where a user went that was merged; `new_id` is a living user, however often it moved on.
merged_users = Table(
    "merged_users",
    metadata,
    Column("old_id", Uuid, primary_key=True),
    Column("new_id", Uuid, nullable=False, index=True),
    Column("merged_at", UtcDateTime, nullable=False),
)

# One run at a time of what only one may do; `held_until` is a time of the database's own clock.
leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", Uuid, nullable=False),
    Column("held_until", UtcDateTime, nullable=False),
)

# No foreign keys: what happened stays known after the user or the session is gone.
audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("event", String(32), nullable=False),
    Column("reason", String(32)),
    Column("user_id", Uuid),
    Column("session_id", Uuid),
    Column("appid", String(64)),
    Column("client_address", String(LONGEST_ADDRESS)),
    Column("user_agent", String(LONGEST_USER_AGENT)),
    Column("actor", String(LONGEST_ACTOR)),
    # How many times: what a limit refuses is counted in one row, not written down each time.
    Column("count", Integer, nullable=False, server_default="1"),
    Index(None, "user_id", "at", "id"),
)


class Client(NamedTuple):
    """Who asks: the address as our own proxies know it, and what it says of itself."""

    address: str | None
    user_agent: str | None


class User(NamedTuple):
    """An account of the business; a new one has nothing but its id."""

    id: UUID
    username: str | None = None
    nickname: str | None = None
    avatar_url: str | None = None
    phone_number_sealed: bytes | None = None
    disabled_at: datetime | None = None

    def __repr__(self) -> str:
        """Name the user, and tell nothing about it."""
        return f"User({self.id})"


class Identity(NamedTuple):
    """A WeChat user of one app."""

    id: UUID
    appid: str
    openid: str
    unionid: str | None


class Standing(enum.Enum):
    """What a properly signed token is to the session that it names."""

    CURRENT = "the token in use"
    PREVIOUS = "the one before it, still to be accepted"
    OLDER = "one that was followed by another"
    FOREIGN = "none that this session ever had"


@dataclass(slots=True)
class Session:
    """One login of one user on one device: what decides about it, as it was read.

    Not frozen, because to make a frozen one takes five times as long; nobody changes it.
    """

    key: bytes
    user: User
    token_hash: bytes
    absolute_expires_at: datetime
    idle_expires_at: datetime
    rotated_at: datetime | None
    confirmed_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None

    @property
    def id(self) -> UUID:
        """The id, whose bytes are `key`."""
        return UUID(bytes=self.key)

    def ensure_live(self, now: datetime) -> None:
        """Return if the session may be used at `now`.

        Raises:
            SessionEnded: it was ended, or its user was disabled.
            SessionExpired: one of its two times is over; at that second it is over.
        """
        if self.ended_at is not None:
            raise SessionEnded(self.end_reason or "revoked")
        if self.user.disabled_at is not None:
            raise SessionEnded("user_disabled")
        if now >= self.absolute_expires_at:
            raise SessionExpired("absolute")
        if now >= self.idle_expires_at:
            raise SessionExpired("idle")

    def standing(
        self,
        token: SessionToken,
        successors: Callable[[SessionToken], Iterable[SessionToken]],
        *,
        now: datetime,
        grace: timedelta,
    ) -> Standing:
        """Return what `token` is to this session.

        The previous token is taken until the next one was used, and within `grace` in any case:
        the device may have lost the answer that held the next one.
        """
        if token.is_hashed_as(self.token_hash):
            return Standing.CURRENT
        if self.rotated_at is None:
            return Standing.FOREIGN
        followed = [next_.is_hashed_as(self.token_hash) for next_ in successors(token)]
        if any(followed) and (self.confirmed_at is None or self.rotated_within(grace, now)):
            return Standing.PREVIOUS
        return Standing.OLDER

    def rotated_within(self, grace: timedelta, now: datetime) -> bool:
        """Tell whether the last refresh is no longer ago than `grace`."""
        return self.rotated_at is not None and now < self.rotated_at + grace

    def was_handed_on_within(self, period: timedelta, now: datetime) -> bool:
        """Return whether the last refresh, or the first use of its token, is no longer ago.

        A device that asked for its next token again after days may still have a request with the
        one before on its way when it uses that one.
        """
        moments = (self.rotated_at, self.confirmed_at)
        return any(moment is not None and now < moment + period for moment in moments)

    def expires_at(self) -> datetime:
        """Return when the session expires if it is not used again."""
        return min(self.idle_expires_at, self.absolute_expires_at)


@dataclass(slots=True)
class DescribedSession(Session):
    """The same, with all that is known besides."""

    created_at: datetime
    auth_time: datetime
    client: Client
    identity: Identity | None


def purge_date(idle_expires_at: datetime) -> date:
    """Return the day from which a purge looks at a session that expires then."""
    return idle_expires_at.date()


def is_live(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a session may be used at `now`, its user's state aside."""
    return and_(
        sessions.c.ended_at.is_(None),
        sessions.c.idle_expires_at > now,
        sessions.c.absolute_expires_at > now,
    )


def has_enabled_user() -> ColumnElement[bool]:
    """Return the condition that a session's user is not disabled."""
    enabled = exists().where(users.c.id == sessions.c.user_id, users.c.disabled_at.is_(None))
    return enabled.correlate(sessions)  # and not with a `users` that is joined outside


_USER = (
    users.c.id,
    users.c.username,
    users.c.nickname,
    users.c.avatar_url,
    users.c.phone_number_sealed,
    users.c.disabled_at,
)
_IDENTITY = (identities.c.id, identities.c.appid, identities.c.openid, identities.c.unionid)
_FACTS = (
    sessions.c.token_hash,
    sessions.c.absolute_expires_at,
    sessions.c.idle_expires_at,
    sessions.c.rotated_at,
    sessions.c.confirmed_at,
    sessions.c.ended_at,
    sessions.c.end_reason,
)
_DESCRIPTION = (
    sessions.c.id,
    sessions.c.created_at,
    sessions.c.auth_time,
    sessions.c.client_address,
    sessions.c.user_agent,
)
_FACTS_AT = len(_USER)
_DESCRIPTION_AT = _FACTS_AT + len(_FACTS)
_IDENTITY_AT = _DESCRIPTION_AT + len(_DESCRIPTION)

_NEVER = datetime.min.replace(tzinfo=UTC)
NO_SESSION = (
    *(UUID(int=0), None, None, None, None, None),
    *(bytes(32), _NEVER, _NEVER, None, None, None, None),
    *(UUID(int=0), _NEVER, _NEVER, None, None),
    *(None, None, None, None),
)
"""A row of `select_described_sessions`, and so of `select_sessions`, that no token fits."""

_OF_USERS = sessions.join(users, users.c.id == sessions.c.user_id)


def select_sessions() -> Select[Any]:
    """Return the query whose rows `session_from` reads."""
    return select(*_USER, *_FACTS).select_from(_OF_USERS)


def session_from(row: Sequence[Any], key: bytes) -> Session:
    """Return the session in a row of `select_sessions`, whose id is known."""
    return Session(key, User._make(row[:_FACTS_AT]), *row[_FACTS_AT:_DESCRIPTION_AT])


def select_described_sessions() -> Select[Any]:
    """Return the query whose rows `described_session_from` reads."""
    with_identity = _OF_USERS.outerjoin(identities, identities.c.id == sessions.c.identity_id)
    return select(*_USER, *_FACTS, *_DESCRIPTION, *_IDENTITY).select_from(with_identity)


def described_session_from(row: Sequence[Any]) -> DescribedSession:
    """Return the session in a row of `select_described_sessions`."""
    id_, created_at, auth_time, *client = row[_DESCRIPTION_AT:_IDENTITY_AT]
    identity = row[_IDENTITY_AT:]
    described = (
        *row[_FACTS_AT:_DESCRIPTION_AT],
        created_at,
        auth_time,
        Client._make(client),
        Identity._make(identity) if identity[0] else None,
    )
    return DescribedSession(id_.bytes, User._make(row[:_FACTS_AT]), *described)


def select_users() -> Select[Any]:
    """Return the query whose rows `user_from` reads."""
    return select(*_USER)


def user_from(row: Sequence[Any]) -> User:
    """Return the user in a row of `select_users`."""
    return User(*row)


def select_former_ids(user_id: UUID) -> Select[Any]:
    """Return the query for the ids of those who were merged into a user."""
    return select(merged_users.c.old_id).where(merged_users.c.new_id == user_id)


def select_identities() -> Select[Any]:
    """Return the query whose rows `identity_from` reads: identities with their users."""
    return select(*_IDENTITY, *_USER).select_from(
        identities.join(users, users.c.id == identities.c.user_id)
    )


def identity_from(row: Sequence[Any]) -> tuple[Identity, User]:
    """Return the identity and its user in a row of `select_identities`."""
    end = len(_IDENTITY) + len(_USER)
    return Identity(*row[: len(_IDENTITY)]), User(*row[len(_IDENTITY) : end])
