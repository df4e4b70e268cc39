"""The feed: all events, in one order, for whoever reads on from where it stopped.

The order is that of the database's clock when a transaction began, not of the commits: a row may
appear before rows that were read already. So nothing is shown that a transaction under way could
still come before.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Uuid, literal, select, text, tuple_

from wxsession.common.wording import Sentence
from wxsession.errors import InvalidRequest
from wxsession.events.event import EVENT_COLUMNS, Event
from wxsession.storage.database import Database, UtcDateTime
from wxsession.storage.tables import audit_events

MOST: Final = 1000
"""How many events a page may have."""

_SETTLED: Final = timedelta(seconds=1)
"""How old an event is when it is shown: longer than it takes until a transaction that begins is
seen to be under way, and than clocks of a failed and a promoted server differ."""
_CURSOR: Final = re.compile(r"(?P<moment>[0-9a-f]{13})-(?P<id>[0-9a-f]{32})", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

# Of this application, as the server knows it: what else runs there must not hold the feed up.
_SETTLED_IN_POSTGRESQL: Final = text(
    "SELECT least(clock_timestamp() - :settled, min(xact_start)) FROM pg_stat_activity"
    " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    " AND application_name = current_setting('application_name')"
).bindparams(settled=_SETTLED)


@dataclass(frozen=True, slots=True)
class Page:
    """Events, oldest first, and the cursor after each of them.

    `next` is the cursor after the last one, and the given one if there are none.
    """

    events: Sequence[Event]
    cursors: Sequence[str]
    next: str | None


class Feed:
    """Reads events along a cursor."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, after: str | None = None, *, limit: int = 100) -> Page:
        """Return the events after a cursor, or from the beginning.

        A reader who gives each page's `next` to the following call gets each event once, however
        many processes write meanwhile, as long as it comes back within WXSESSION_AUDIT_RETENTION.
        Events appear about a second late. The refusals among them are counted in one row for ten
        minutes: the count is that of the moment in which it is read.

        Raises:
            InvalidRequest: `after` is no cursor of this feed, or the limit is not 1 to 1000.
            Overloaded: the database did not answer in time.
        """
        if not 1 <= limit <= MOST:
            raise InvalidRequest.of("limit", Sentence("must be from 1 to {most}", most=MOST))
        c = audit_events.c
        query = select(*EVENT_COLUMNS, c.recorded_at).order_by(c.recorded_at, c.id).limit(limit)
        if after is not None:
            query = query.where(tuple_(c.recorded_at, c.id) > tuple_(*_position(after)))
        with self._database.statement() as connection:
            settled = self._settled(connection)
            rows = connection.execute(query.where(c.recorded_at < settled)).all()
        cursors = [_cursor(row.recorded_at, row.id) for row in rows]
        return Page([Event(*row[:-1]) for row in rows], cursors, cursors[-1] if rows else after)

    def end(self) -> str:
        """Return the cursor after everything that is shown now.

        Raises:
            Overloaded: the database did not answer in time.
        """
        with self._database.statement() as connection:
            return _cursor(self._settled(connection), UUID(int=0))

    def _settled(self, connection: Connection) -> datetime:
        """Return the moment before which nothing can appear any more.

        What is read has to be read in a later statement: a transaction that ends after the
        statement's snapshot was taken is neither in the snapshot nor under way any more.
        """
        if not self._database.is_postgresql:  # one writer at a time, and the clock of this host
            return self._database.now() - _SETTLED
        settled: datetime = connection.execute(_SETTLED_IN_POSTGRESQL).scalar_one()
        return settled


def moment_of(cursor: str) -> datetime:
    """Return the moment of the event that a cursor stands after.

    Raises:
        InvalidRequest: it is no cursor of this feed.
    """
    return _parts(cursor)[0]


def _cursor(recorded_at: datetime, event_id: UUID) -> str:
    return f"{(recorded_at - _EPOCH) // _MICROSECOND:013x}-{event_id.hex}"


def _position(cursor: str) -> tuple[ColumnElement[datetime], ColumnElement[UUID]]:
    moment, event_id = _parts(cursor)
    return literal(moment, UtcDateTime()), literal(event_id, Uuid())


def _parts(cursor: str) -> tuple[datetime, UUID]:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidRequest.of("after", "is not what an earlier page had as next")
    return _EPOCH + int(found["moment"], 16) * _MICROSECOND, UUID(found["id"])
