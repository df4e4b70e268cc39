"""Every statement about sessions that is built once, and the readers of its rows."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Update,
    and_,
    bindparam,
    case,
    false,
    insert,
    or_,
    select,
    update,
)

from wxsession.sessions.session import DescribedSession, Session
from wxsession.storage.tables import has_enabled_user, identities, is_live, sessions, users
from wxsession.users.client import ClientInfo
from wxsession.users.phone_numbers import PhoneNumbers
from wxsession.users.user import IDENTITY_COLUMNS, USER_COLUMNS, Identity, user_from

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


def session_from(row: Sequence[Any], key: bytes, phones: PhoneNumbers) -> Session:
    """Return the session in a row of `select_sessions`, whose id is known."""
    return Session(key, user_from(row[:_FACTS_AT], phones), *row[_FACTS_AT:_DESCRIPTION_AT])


def select_described_sessions() -> Select[Any]:
    """Return the query whose rows `described_session_from` reads."""
    with_identity = _OF_USERS.outerjoin(identities, identities.c.id == sessions.c.identity_id)
    return select(*USER_COLUMNS, *_FACTS, *_DESCRIPTION, *IDENTITY_COLUMNS).select_from(
        with_identity
    )


def described_session_from(row: Sequence[Any], phones: PhoneNumbers) -> DescribedSession:
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
    return DescribedSession(id_.bytes, user_from(row[:_FACTS_AT], phones), *described)


# Made once: every check of every device asks this.
_IT = sessions.c.id == bindparam("session_id")
BY_ID = select_sessions().where(_IT)
DESCRIBED_BY_ID = select_described_sessions().where(_IT)

INSERT = insert(sessions)

SWAP_TOKEN = (
    update(sessions)
    .where(_IT, sessions.c.token_hash == bindparam("its_token_hash"))
    .where(is_live(bindparam("now")), has_enabled_user())
    .values(
        token_hash=bindparam("next_hash"),
        rotated_at=bindparam("now"),
        confirmed_at=None,
        idle_expires_at=bindparam("new_idle_expires_at"),
        purge_on=bindparam("new_purge_on"),
    )
)
"""Replaces the token of a session that is live and still has it."""


def _making_room(replaced: ColumnElement[bool]) -> Update:
    mine = and_(sessions.c.user_id == bindparam("its_user_id"), is_live(bindparam("now")))
    least_recently_used = (
        select(sessions.c.id)
        .where(mine, ~replaced)
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


EVICT = _making_room(false())
"""Ends the sessions of a user that are above the cap, the least recently used first."""

REPLACE_AND_EVICT = _making_room(
    and_(
        _IT,
        # An older token, whose own hash nobody knows any more, ends it as well: as at a logout.
        or_(
            sessions.c.token_hash.in_(bindparam("token_hashes", expanding=True)),
            sessions.c.rotated_at.is_not(None),
        ),
    )
)
"""Ends the session that a new one replaces, and what is above the cap besides."""


def some_live(user_id: UUID, now: datetime, *, but: UUID | None) -> ColumnElement[bool]:
    """Return the condition that picks a bounded number of a user's live sessions, never `but`."""
    live = select(sessions.c.id).where(sessions.c.user_id == user_id, is_live(now))
    if but is not None:
        live = live.where(sessions.c.id != but)
    return sessions.c.id.in_(live.limit(_END_BATCH))


def as_read(session: Session, now: datetime) -> ColumnElement[bool]:
    """Return the condition that the session is live and as it was when it was read."""
    return and_(
        sessions.c.id == session.id,
        sessions.c.token_hash == session.token_hash,
        sessions.c.idle_expires_at == session.idle_expires_at,
        is_live(now),
    )
