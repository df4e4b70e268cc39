"""Sessions of anybody, newest first, for an operator: live ones, of an app, an address, an age.

However many sessions there are, a page looks through a number of them that takes a moment: those
that follow one another in the order of their ids, which is that of their creation, or those that
the events of an address name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Select, and_, or_, select

from wxsession.errors import InvalidRequest
from wxsession.sessions.queries import select_sessions
from wxsession.storage.database import Executor, uuid7
from wxsession.storage.tables import (
    audit_events,
    has_live_opener,
    identities,
    is_live,
    sessions,
    users,
)

EXAMINED: Final = 2_000
"""How many sessions are looked through for a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """Which sessions to find; None: any."""

    live: bool = True
    """Only those that can be used; False: ended and expired ones as well."""
    appid: str | None = None
    address: str | None = None
    """Begun from this address, within the retention of events."""
    since: datetime | None = None
    """Not begun before."""
    until: datetime | None = None
    """Begun before this moment."""


class FoundSessions(NamedTuple):
    """Rows of `select_sessions` and their ids, and the position to go on after, None at the end."""

    rows: Sequence[Any]
    next: UUID | None


def find_sessions(
    connection: Executor,
    wanted: SessionFilter,
    *,
    now: datetime,
    limit: int,
    after: UUID | None = None,
) -> FoundSessions:
    """Return a page of sessions, newest first.

    Raises:
        InvalidRequest: `after` is no position, or one that was purged.
    """
    if wanted.address is None:
        places = _by_id(wanted, after)
    else:
        places = _by_address(connection, wanted, wanted.address, after)
    places = places.limit(EXAMINED)
    examined = places.subquery()
    # Asked for each place by itself, until the page is full: a join might be a scan.
    hit = (
        select(sessions.c.id)
        .select_from(
            sessions.join(users, users.c.id == sessions.c.user_id).outerjoin(
                identities, identities.c.id == sessions.c.identity_id
            )
        )
        .where(sessions.c.id == examined.c.session_id, *_conditions(wanted, now))
        .scalar_subquery()
    )
    query = (
        select(examined.c.session_id, examined.c.place)
        .where(hit.is_not(None))
        .order_by(examined.c.number.desc(), examined.c.place.desc())
        .limit(limit + 1)
    )
    hits = connection.execute(query).all()
    if len(hits) > limit:
        position: UUID | None = hits[limit - 1].place
    else:
        last = connection.execute(places.offset(EXAMINED - 1).limit(1)).first()
        position = None if last is None else last.place
    ids = [one.session_id for one in hits[:limit]]
    if not ids:
        return FoundSessions([], position)
    query = select_sessions().add_columns(sessions.c.id.label("session_id"))
    found: list[Any] = list(connection.execute(query.where(sessions.c.id.in_(ids))))
    rows = {row.session_id: row for row in found}
    return FoundSessions([rows[one] for one in ids if one in rows], position)


def _by_id(wanted: SessionFilter, after: UUID | None) -> Select[Any]:
    """Return the places of sessions in the order of their ids, which begin with their time."""
    c = sessions.c
    query = select(c.id.label("session_id"), c.id.label("place"), c.id.label("number"))
    if wanted.until is not None:
        query = query.where(c.id < _first_id(wanted.until))
    if wanted.since is not None:
        query = query.where(c.id >= _first_id(wanted.since))
    if after is not None:
        query = query.where(c.id < after)
    return query.order_by(c.id.desc())


def _by_address(
    connection: Executor, wanted: SessionFilter, address: str, after: UUID | None
) -> Select[Any]:
    """Return the places of sessions by the events of their creation, along the index of those."""
    c = audit_events.c
    query = select(c.session_id, c.id.label("place"), c.at.label("number")).where(
        c.client_address == address, c.event == "session.created"
    )
    if wanted.until is not None:
        query = query.where(c.at < wanted.until)
    if wanted.since is not None:
        query = query.where(c.at >= wanted.since)
    if after is not None:
        at = connection.execute(select(c.at).where(c.id == after)).scalar()
        if at is None:
            raise InvalidRequest.of("after", "is no position, or one that was purged")
        query = query.where(c.at <= at, or_(c.at < at, c.id < after))
    return query.order_by(c.at.desc(), c.id.desc())


def _conditions(wanted: SessionFilter, now: datetime) -> list[Any]:
    found: list[Any] = []
    if wanted.live:
        found.append(and_(is_live(now), has_live_opener(now), users.c.disabled_at.is_(None)))
    if wanted.appid is not None:
        found.append(identities.c.appid == wanted.appid)
    return found


def _first_id(moment: datetime) -> UUID:
    """Return what no id that was made before a moment is greater than."""
    return uuid7(max(0, int(moment.timestamp() * 1000)), 0)  # there is no id of before 1970
