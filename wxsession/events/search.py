"""The search: events of one user, one address or one kind, newest first, for an operator."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select

from wxsession.errors import InvalidRequest
from wxsession.events.event import EVENT_COLUMNS, Event
from wxsession.storage.database import Database, Executor
from wxsession.storage.tables import audit_events
from wxsession.users.client import network_of
from wxsession.users.user import select_former_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events to find; None: any."""

    user_id: UUID | None = None
    """Of this user, and of the users merged into this one."""
    event: str | None = None
    address: str | None = None
    """Of a client with this address, or of its network where refusals are counted."""
    since: datetime | None = None
    until: datetime | None = None


def find_events(
    connection: Executor, wanted: EventFilter, *, limit: int, after: UUID | None = None
) -> list[Event]:
    """Return events, newest first; `after` is the id of the one to continue after.

    However many events there are, an index leads to those that are wanted.

    Raises:
        InvalidRequest: there is no event `after`.
    """
    c = audit_events.c
    query = select(*EVENT_COLUMNS).order_by(c.at.desc(), c.id.desc()).limit(limit)
    if wanted.event is not None:
        query = query.where(c.event == wanted.event)
    if wanted.since is not None:
        query = query.where(c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(c.at < wanted.until)
    if after is not None:
        at = connection.execute(select(c.at).where(c.id == after)).scalar()
        if at is None:
            raise InvalidRequest.of("after", "is no event, or one that was purged")
        query = query.where(c.at <= at, or_(c.at < at, c.id < after))
    # One query for each: an index has the events of one key in their order, of several it has not.
    found = [
        Event(*row)
        for one in _keys(connection, wanted)
        for row in connection.execute(query.where(*one))
    ]
    found.sort(key=lambda event: (event.at, event.id), reverse=True)
    return found[:limit]


class EventSearch:
    """Finds events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, wanted: EventFilter, *, limit: int, after: UUID | None = None) -> list[Event]:
        """Return events, as `find_events` does.

        Raises:
            InvalidRequest: there is no event `after`.
            Overloaded: the database did not answer in time.
        """
        with self._database.statement() as connection:
            return find_events(connection, wanted, limit=limit, after=after)


def _keys(connection: Executor, wanted: EventFilter) -> list[list[ColumnElement[bool]]]:
    """Return the conditions of each query: together they find all that is wanted, each once."""
    c, address = audit_events.c, wanted.address
    addresses = [] if address is None else list(dict.fromkeys((address, network_of(address))))
    if wanted.user_id is not None:
        ids = [wanted.user_id, *connection.execute(select_former_ids(wanted.user_id)).scalars()]
        from_there = [c.client_address.in_(addresses)] if addresses else []
        return [[c.user_id == id_, *from_there] for id_ in ids]
    if addresses:
        return [[c.client_address == one] for one in addresses]
    return [[]]
