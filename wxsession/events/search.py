"""The search: events of one user, one address or one kind, newest first, for an operator."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, or_, select

from wxsession.common.clock import rfc3339
from wxsession.errors import InvalidRequest
from wxsession.events.audit import Audit
from wxsession.events.event import EVENT_COLUMNS, FACTS, Event
from wxsession.storage.database import Database, Executor
from wxsession.storage.tables import audit_events
from wxsession.users.client import ClientInfo, network_of
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
    reason: str | None = None
    appid: str | None = None
    actor: str | None = None

    def is_narrowed(self) -> bool:
        """Return whether something is wanted that no index leads to."""
        return (self.reason, self.appid, self.actor) != (None, None, None)


EXAMINED: Final = 5_000
"""How many events are looked through for those that no index leads to."""


class Found(NamedTuple):
    """Events, newest first; `next` is the id to continue after, None at the end.

    Where few are as they are wanted, there may be none of them before the end.
    """

    events: list[Event]
    next: UUID | None
    examined_until: datetime | None
    """The moment of the event to continue after."""


def find_events(
    connection: Executor, wanted: EventFilter, *, limit: int, after: UUID | None = None
) -> list[Event]:
    """Return events, newest first; `after` is the id of the one to continue after.

    However many events there are, an index leads to those that are wanted.

    Raises:
        InvalidRequest: there is no event `after`.
    """
    query = _newest_first(connection, wanted, after).limit(limit)
    # One query for each: an index has the events of one key in their order, of several it has not.
    found = [
        Event(*row)
        for one in _keys(connection, wanted)
        for row in connection.execute(query.where(*one))
    ]
    found.sort(key=lambda event: (event.at, event.id), reverse=True)
    return found[:limit]


def _newest_first(connection: Executor, wanted: EventFilter, after: UUID | None) -> Select[Any]:
    c = audit_events.c
    query = select(*EVENT_COLUMNS).order_by(c.at.desc(), c.id.desc())
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
    return query


class EventSearch:
    """Finds events."""

    def __init__(self, database: Database, audit: Audit) -> None:
        self._database = database
        self._audit = audit

    def find(self, wanted: EventFilter, *, limit: int, after: UUID | None = None) -> list[Event]:
        """Return events, as `find_events` does.

        Raises:
            InvalidRequest: there is no event `after`.
            Overloaded: the database did not answer in time.
        """
        with self._database.statement() as connection:
            return find_events(connection, wanted, limit=limit, after=after)

    def page(self, wanted: EventFilter, *, limit: int, after: UUID | None = None) -> Found:
        """Return a page of events, having looked through `EXAMINED` of them at most.

        Raises:
            InvalidRequest: there is no event `after`.
            Overloaded: the database did not answer in time.
        """
        if not wanted.is_narrowed():
            found = self.find(wanted, limit=limit + 1, after=after)
            return _found(found[:limit], found[limit - 1] if len(found) > limit else None)
        with self._database.statement() as connection:
            query = _newest_first(connection, wanted, after).limit(EXAMINED)
            parts = [query.where(*one) for one in _keys(connection, wanted)]
            # Those that may be followed by others: nothing beyond the first of them was examined.
            ends = [
                end
                for part in parts
                if (end := connection.execute(part.limit(1).offset(EXAMINED - 1)).first())
            ]
            events = [
                Event(*row)
                for part in parts
                for row in connection.execute(_narrowed(part, wanted, limit + 1))
            ]
        events.sort(key=_place, reverse=True)
        if ends:
            last = Event(*max(ends, key=lambda row: (row.at, row.id)))
            events = [event for event in events if _place(event) >= _place(last)]
        else:
            last = None
        if len(events) > limit:
            return _found(events[:limit], events[limit - 1])
        return _found(events, last)

    def export(self, wanted: EventFilter, client: ClientInfo, *, actor: str) -> Iterator[str]:
        """Return all events that are wanted, newest first, as the lines of a CSV file.

        It is read page by page while the lines are taken. That it was asked for is an event, too.

        Raises:
            Overloaded: the database did not answer in time.
        """
        with self._database.transaction() as transaction:
            self._audit.write(transaction, "events.exported", client, actor=actor)
        return self._lines(wanted)

    def _lines(self, wanted: EventFilter) -> Iterator[str]:
        yield _line(FACTS)
        after: UUID | None = None
        while True:
            # What comes in meanwhile is newer, and so is not among what follows.
            found = self.page(wanted, limit=_EXPORTED_AT_ONCE, after=after)
            yield from (
                _line([_cell(getattr(event, name)) for name in FACTS]) for event in found.events
            )
            if found.next is None:
                return
            after = found.next


_EXPORTED_AT_ONCE: Final = 1000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def _cell(value: object) -> str:
    """Return a value as a table shows it; a spreadsheet must not take a text for a formula."""
    if isinstance(value, datetime):
        return rfc3339(value)
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()


def _place(event: Event) -> tuple[datetime, UUID]:
    return event.at, event.id


def _found(events: list[Event], last: Event | None) -> Found:
    return Found(events, last.id if last else None, last.at if last else None)


def _narrowed(part: Select[Any], wanted: EventFilter, limit: int) -> Select[Any]:
    """Return the query for those of a part that are wanted."""
    examined = part.subquery()
    c = examined.c
    named = {c.reason: wanted.reason, c.appid: wanted.appid, c.actor: wanted.actor}
    conditions = [column == value for column, value in named.items() if value is not None]
    query = select(*(c[name] for name in FACTS)).where(*conditions)
    return query.order_by(c.at.desc(), c.id.desc()).limit(limit)


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
