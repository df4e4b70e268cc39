"""Every statement about sessions that is built once, and the readers of its rows."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Executable,
    Select,
    and_,
    bindparam,
    case,
    false,
    or_,
    select,
    update,
)

from wxsession.sessions.session import DescribedSession, Session
from wxsession.storage.prepared import Param, insert_into, prepared
from wxsession.storage.tables import has_enabled_user, identities, is_live, sessions, users
from wxsession.users.client import ClientInfo
from wxsession.users.user import IDENTITY_COLUMNS, USER_COLUMNS, Identity, User

_END_BATCH = 1000


def purge_date(idle_expires_at: datetime) -> date:
    """Return the day from which a purge looks at a session that expires then."""
    return idle_expires_at.date()


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
_FACTS_AT = len(USER_COLUMNS)
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
    return select(*USER_COLUMNS, *_FACTS).select_from(_OF_USERS)


def session_from(row: Sequence[Any], key: bytes) -> Session:
    """Return the session in a row of `select_sessions`, whose id is known."""
    return Session(key, User._make(row[:_FACTS_AT]), *row[_FACTS_AT:_DESCRIPTION_AT])


def select_described_sessions() -> Select[Any]:
    """Return the query whose rows `described_session_from` reads."""
    with_identity = _OF_USERS.outerjoin(identities, identities.c.id == sessions.c.identity_id)
    return select(*USER_COLUMNS, *_FACTS, *_DESCRIPTION, *IDENTITY_COLUMNS).select_from(
        with_identity
    )


def described_session_from(row: Sequence[Any]) -> DescribedSession:
    """Return the session in a row of `select_described_sessions`."""
    id_, created_at, auth_time, *client = row[_DESCRIPTION_AT:_IDENTITY_AT]
    identity = row[_IDENTITY_AT:]
    described = (
        *row[_FACTS_AT:_DESCRIPTION_AT],
        created_at,
        auth_time,
        ClientInfo._make(client),
        Identity._make(identity) if identity[0] else None,
    )
    return DescribedSession(id_.bytes, User._make(row[:_FACTS_AT]), *described)


# Made once: every check of every device asks this.
_IT = sessions.c.id == bindparam("session_id")
BY_ID = select_sessions().where(_IT)
DESCRIBED_BY_ID = select_described_sessions().where(_IT)

insert_session = insert_into(sessions)


@prepared
def swap_token(  # noqa: PLR0913 - these are what a refresh changes, and on what conditions
    *,
    session_id: Param,
    token_hash: Param,
    next_hash: Param,
    now: Param,
    idle_expires_at: Param,
    purge_on: Param,
) -> Executable:
    """Replace a session's token by its successor, if it is live and still has that token."""
    return (
        update(sessions)
        .where(sessions.c.id == session_id, sessions.c.token_hash == token_hash)
        .where(is_live(now), has_enabled_user())
        .values(
            token_hash=next_hash,
            rotated_at=now,
            confirmed_at=None,
            idle_expires_at=idle_expires_at,
            purge_on=purge_on,
        )
    )


def _making_room(
    user_id: Param, kept: Param, now: Param, today: Param, replaced: ColumnElement[bool]
) -> Executable:
    mine = and_(sessions.c.user_id == user_id, is_live(now))
    least_recently_used = (
        select(sessions.c.id)
        .where(mine, ~replaced)
        .order_by(sessions.c.idle_expires_at.desc(), sessions.c.id.desc())
        .offset(kept)
    )
    return (
        update(sessions)
        .where(mine, or_(replaced, sessions.c.id.in_(least_recently_used)))
        .values(
            ended_at=now,
            end_reason=case((replaced, "replaced"), else_="evicted"),
            purge_on=today,
        )
        .returning(sessions.c.id, sessions.c.end_reason)
    )


@prepared
def evict(*, user_id: Param, kept: Param, now: Param, today: Param) -> Executable:
    """End the live sessions of a user that are above the cap, the least recently used first."""
    return _making_room(user_id, kept, now, today, false())


@prepared
def replace_and_evict(  # noqa: PLR0913 - the same, and which one goes in any case
    *, user_id: Param, kept: Param, now: Param, today: Param, session_id: Param, token_hashes: Param
) -> Executable:
    """End the session that a new one replaces, and what is above the cap besides."""
    # An older token, whose own hash nobody knows any more, ends it as well: as at a logout.
    is_its = or_(sessions.c.token_hash.in_(token_hashes), sessions.c.rotated_at.is_not(None))
    replaced = and_(sessions.c.id == session_id, is_its)
    return _making_room(user_id, kept, now, today, replaced)


def some_others(session: Session, now: datetime) -> ColumnElement[bool]:
    """Return the condition that picks a bounded number of the user's other live sessions."""
    others = select(sessions.c.id).where(
        sessions.c.user_id == session.user.id, sessions.c.id != session.id, is_live(now)
    )
    return sessions.c.id.in_(others.limit(_END_BATCH))


def as_read(session: Session, now: datetime) -> ColumnElement[bool]:
    """Return the condition that the session is live and as it was when it was read."""
    return and_(
        sessions.c.id == session.id,
        sessions.c.token_hash == session.token_hash,
        sessions.c.idle_expires_at == session.idle_expires_at,
        is_live(now),
    )
