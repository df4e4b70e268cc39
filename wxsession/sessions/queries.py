"""Every statement about sessions that is built once, and the reader of its rows."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Date,
    LargeBinary,
    Select,
    Update,
    and_,
    bindparam,
    case,
    false,
    null,
    or_,
    select,
    update,
)

from wxsession.sessions.session import Session
from wxsession.storage.database import UtcDateTime
from wxsession.storage.statements import Statement, inserting
from wxsession.storage.tables import (
    has_enabled_user,
    identities,
    is_live,
    sessions,
    users,
)
from wxsession.users.client import ClientInfo
from wxsession.users.phone_numbers import PhoneNumbers
from wxsession.users.user import IDENTITY_COLUMNS, IS_WECHAT_USER, USER_COLUMNS, Identity, user_from

ENDED_AT_ONCE = 1000
"""How many sessions one transaction ends at most."""
_LOOKED_UP = 10 * ENDED_AT_ONCE


def purge_date(idle_expires_at: datetime) -> date:
    """Return the day from which a purge looks at a session that expires then."""
    return idle_expires_at.date()


_CLIENT_COLUMNS = (sessions.c.client_address, sessions.c.user_agent)
_OWN_COLUMNS = (
    sessions.c.id,
    sessions.c.token_hash,
    sessions.c.created_at,
    sessions.c.auth_time,
    sessions.c.absolute_expires_at,
    sessions.c.idle_expires_at,
    sessions.c.rotated_at,
    sessions.c.confirmed_at,
    sessions.c.ended_at,
    sessions.c.end_reason,
    sessions.c.opened_by,
)
_WITH_USER = sessions.join(users, users.c.id == sessions.c.user_id)
# Where the next part of a row begins, in the order of `select_sessions`.
_IDENTITY_AT = len(USER_COLUMNS)
_CLIENT_AT = _IDENTITY_AT + len(IDENTITY_COLUMNS)
_OWN_AT = _CLIENT_AT + len(_CLIENT_COLUMNS)


def select_sessions() -> Select[Any]:
    """Return the query whose rows `session_from` reads."""
    with_identity = _WITH_USER.outerjoin(identities, identities.c.id == sessions.c.identity_id)
    columns = (*USER_COLUMNS, *IDENTITY_COLUMNS, *_CLIENT_COLUMNS, *_OWN_COLUMNS)
    return select(*columns).select_from(with_identity)


def select_sessions_alone() -> Select[Any]:
    """Return the same query, with NULLs in place of the identity.

    The join takes PostgreSQL 25 µs of CPU and the application 10 to 20: 15 % of a check
    (``python -m benchmarks --only check``). The plain twin is `select_sessions`.
    """
    columns = (*USER_COLUMNS, *_nothing(), *_CLIENT_COLUMNS, *_OWN_COLUMNS)
    return select(*columns).select_from(_WITH_USER)


def session_from(row: Sequence[Any], phones: PhoneNumbers) -> Session:
    """Return the session in a row of `select_sessions`."""
    has_identity = row[_IDENTITY_AT] is not None  # its id: no session by password has one
    return Session(
        user_from(row[:_IDENTITY_AT], phones),
        Identity._make(row[_IDENTITY_AT:_CLIENT_AT]) if has_identity else None,
        ClientInfo._make(row[_CLIENT_AT:_OWN_AT]),
        *row[_OWN_AT:],  # `_OWN_COLUMNS` are in the order of the fields
    )


def _of_row_and_its_user() -> list[ColumnElement[Any]]:
    """Return the columns of `select_sessions_alone` for RETURNING, which knows one table."""
    its_user = (
        select(column).where(users.c.id == sessions.c.user_id).scalar_subquery()
        for column in USER_COLUMNS
    )
    return [*its_user, *_nothing(), *_CLIENT_COLUMNS, *_OWN_COLUMNS]


def _nothing() -> Iterator[ColumnElement[Any]]:
    """Yield NULLs in place of the identity."""
    for column in IDENTITY_COLUMNS:
        yield null().label(f"identity_{column.name}")


_IT = sessions.c.id == bindparam("session_id")
ONE = select_sessions().where(_IT)
BY_ID = Statement(ONE)
"""The query of a check whose caller wants to know the identity."""
ALONE_BY_ID = Statement(select_sessions_alone().where(_IT))
"""The query of every other check, of a refresh and of a logout."""

_NO_ID = UUID(int=0)
_NEVER = datetime.min.replace(tzinfo=UTC)
_NO_USER = (_NO_ID, None, None, None, None, None)
_NO_IDENTITY = (None, None, None, None)
_NO_CLIENT = (None, None)
_NO_OWN = (
    _NO_ID,
    bytes(32),  # no hash: SHA-256 of no known input
    _NEVER,
    _NEVER,
    _NEVER,
    _NEVER,
    None,  # never refreshed, so no token can be an older one
    None,
    None,
    None,
    None,
)
NO_SESSION = (*_NO_USER, *_NO_IDENTITY, *_NO_CLIENT, *_NO_OWN)
"""A row that no token fits: so an unknown id takes the path of a wrong secret."""

INSERT = inserting(
    sessions,
    "id",
    "user_id",
    "identity_id",
    "token_hash",
    "created_at",
    "auth_time",
    "absolute_expires_at",
    "idle_expires_at",
    "purge_on",
    "client_address",
    "user_agent",
    "opened_by",
)

_IDLE = bindparam("new_idle_expires_at", type_=UtcDateTime)
_IS_CAPPED = sessions.c.absolute_expires_at < _IDLE
_EXTENDED = case((_IS_CAPPED, sessions.c.absolute_expires_at), else_=_IDLE)

SWAP_TOKEN = Statement(
    update(sessions)
    .where(_IT, sessions.c.token_hash == bindparam("its_token_hash"))
    .where(is_live(bindparam("now")), has_enabled_user())
    .values(
        token_hash=bindparam("next_hash"),
        rotated_at=bindparam("now"),
        confirmed_at=None,
        idle_expires_at=case(
            (sessions.c.idle_expires_at < _EXTENDED, _EXTENDED), else_=sessions.c.idle_expires_at
        ),
        # The purge may look too early at a session that cannot be extended any more.
        purge_on=case(
            (_IS_CAPPED, sessions.c.purge_on),
            (sessions.c.idle_expires_at < _IDLE, bindparam("new_purge_on", type_=Date)),
            else_=sessions.c.purge_on,
        ),
    )
    .returning(*_of_row_and_its_user())
)
"""Replaces the token of a session that is live and has it, and extends the session.

It returns the row as `select_sessions_alone` does.
"""


def _making_room(replaced: ColumnElement[bool]) -> Update:
    mine = and_(sessions.c.user_id == bindparam("its_user_id"), is_live(bindparam("now")))
    least_recently_used = (
        select(sessions.c.id)
        .where(mine, ~replaced, sessions.c.opened_by.is_(None))
        .order_by(sessions.c.idle_expires_at.desc(), sessions.c.id.desc())
        .offset(bindparam("kept"))
    )
    return (
        update(sessions)
        .where(mine, or_(replaced, sessions.c.id.in_(least_recently_used)))
        .values(
            ended_at=bindparam("now"),
            end_reason=case((replaced, "replaced"), else_="evicted"),
            purge_on=bindparam("today"),
        )
        .returning(sessions.c.id, sessions.c.end_reason)
    )


EVICT = Statement(_making_room(false()))
"""Ends the sessions of a user that are above the cap, the least recently used first."""


def replace_and_evict(hashes: int) -> Statement:
    """Return what ends the session that a new one replaces, and what is above the cap besides.

    Its parameters `token_hash_0` and so on are the hashes that the session may have.
    """
    return Statement(_making_room(_has_had_one_of(hashes)))


def log_out(hashes: int) -> Statement:
    """Return what ends a live session, by a token that it has or had; it returns the user's id.

    Its parameters are as for `replace_and_evict`.
    """
    return Statement(
        update(sessions)
        .where(_has_had_one_of(hashes), is_live(bindparam("now")))
        .values(ended_at=bindparam("now"), end_reason="logout", purge_on=bindparam("today"))
        .returning(sessions.c.user_id)
    )


def _has_had_one_of(hashes: int) -> ColumnElement[bool]:
    known = [bindparam(f"token_hash_{number}", type_=LargeBinary) for number in range(hashes)]
    # An older token, whose own hash nobody knows any more, is one as well.
    return and_(_IT, or_(sessions.c.token_hash.in_(known), sessions.c.rotated_at.is_not(None)))


IS_FULL = Statement(
    select(sessions.c.id)
    .join(identities, identities.c.user_id == sessions.c.user_id)
    .where(IS_WECHAT_USER, is_live(bindparam("now")), sessions.c.opened_by.is_(None))
    .offset(bindparam("kept"))
    .limit(1)
)
"""Returns a row if the user of a WeChat user has more live sessions than `kept`."""

TOUCH = Statement(
    update(sessions)
    .where(_IT, is_live(bindparam("now")))
    .where(
        sessions.c.token_hash == bindparam("its_token_hash"),
        sessions.c.idle_expires_at == bindparam("its_idle_expires_at"),
    )
    .values(
        idle_expires_at=bindparam("new_idle_expires_at"),
        purge_on=bindparam("new_purge_on"),
        confirmed_at=bindparam("new_confirmed_at"),
    )
)
"""Notes the use of a session that is live and as it was when it was read."""


def select_some_live(user_id: UUID, now: datetime, *, but: UUID | None) -> Select[Any]:
    """Return the query for the ids of a bounded number of a user's live sessions, never `but`.

    It reads over those that have ended: so each look is for what several transactions end.
    """
    live = select(sessions.c.id).where(sessions.c.user_id == user_id, is_live(now))
    if but is not None:
        live = live.where(sessions.c.id != but)
    return live.limit(_LOOKED_UP)


def as_read(session: Session, now: datetime) -> ColumnElement[bool]:
    """Return the condition that the session is live and as it was when it was read."""
    return and_(
        sessions.c.id == session.id,
        sessions.c.token_hash == session.token_hash,
        sessions.c.idle_expires_at == session.idle_expires_at,
        is_live(now),
    )
