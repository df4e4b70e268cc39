"""Events counted by the hour: what plots read, so that no page reads the events themselves.

The purge counts each hour once, as soon as nothing can be added to it any more, and before the
events are deleted: so the counts outlive them. What is newer is counted when somebody looks, along
the index on the time, and up to a number of events that takes a moment to read.
"""

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select

from wxsession.common.clock import Timing
from wxsession.events.audit import COUNTED_FOR
from wxsession.storage.database import Database, UtcDateTime, upsert
from wxsession.storage.tables import audit_events, event_counts
from wxsession.wechat.call_counts import hour_of

HOUR: Final = timedelta(hours=1)

SETTLED: Final = COUNTED_FOR + timedelta(minutes=5)
"""How long after its end an hour changes at most: refusals are counted in a row for ten minutes."""

_SHORT_SECONDS: Final = 0.05
_LONGEST_SPAN: Final = timedelta(days=4)

MOST_LIVE: Final = 50_000
"""How many events are counted when somebody looks."""


class Happened(NamedTuple):
    """What happened; a reason that it has not is empty."""

    event: str
    reason: str


Counts = dict[tuple[datetime, Happened], int]
"""How often what happened, by hours."""


def fold(
    database: Database,
    now: datetime,
    *,
    is_time: Callable[[], bool] = lambda: True,
    timing: Timing = time,
) -> bool:
    """Count the events of every hour that is over and not counted yet; return whether all are.

    Hours that are missing are counted several at a time, as long as that is quick. What is counted
    stays: it may be stopped at any time, and run again.

    Raises:
        Overloaded: the database did not answer in time.
    """
    end = hour_of(now - SETTLED)
    with database.statement() as connection:
        start = _counted_until(connection)
    span = HOUR
    while is_time():
        first = _oldest(database, start)
        if first is None or first + HOUR > end:
            return True
        until = min(first + span, end)
        begun = timing.monotonic()
        with database.statement() as connection:
            rows = _count(connection, first, until)
        elapsed = timing.monotonic() - begun
        with database.transaction() as transaction:
            # Whoever lost the lock of the job meanwhile has counted the same.
            transaction.execute(upsert(database, event_counts).on_conflict_do_nothing(), rows)
        start = until
        span = min(2 * span, _LONGEST_SPAN) if elapsed < _SHORT_SECONDS else max(span // 2, HOUR)
        span = span // HOUR * HOUR
    return False


def _oldest(database: Database, since: datetime | None) -> datetime | None:
    """Return the hour of the oldest event that is not counted yet."""
    oldest = select(func.min(audit_events.c.at, type_=UtcDateTime()))
    if since is not None:
        oldest = oldest.where(audit_events.c.at >= since)
    with database.statement() as connection:
        first: datetime | None = connection.execute(oldest).scalar_one()
    return None if first is None else hour_of(first)


def _count(connection: Connection, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Return the rows of some hours."""
    c = audit_events.c
    what = (
        _hour(connection, c.at),
        c.event,
        func.coalesce(c.reason, ""),
        func.coalesce(c.appid, ""),
    )
    query = select(*what, func.sum(c["count"])).where(c.at >= since, c.at < until).group_by(*what)
    names = ("hour", "event", "reason", "appid", "count")
    return [
        dict(zip(names, (_moment(hour), *rest, int(count)), strict=True))
        for hour, *rest, count in connection.execute(query)
    ]


class Counted(NamedTuple):
    """Counts of some hours, and since when none is missing because there were too many events."""

    counts: Counts
    complete_since: datetime | None


def read(connection: Connection, names: tuple[str, ...], since: datetime, now: datetime) -> Counted:
    """Return how often these events happened, by hours, from the hour of `since` until now."""
    c, since = event_counts.c, hour_of(since)
    query = (
        select(c.hour, c.event, c.reason, func.sum(c["count"]))
        .where(c.hour >= since, c.event.in_(names))
        .group_by(c.hour, c.event, c.reason)
    )
    counts: Counter[tuple[datetime, Happened]] = Counter()
    for hour, event, reason, count in connection.execute(query):
        counts[hour, Happened(event, reason)] += int(count)
    until = _counted_until(connection)
    live = since if until is None else max(since, until)
    complete_since = _add_live(connection, counts, names, live, now)
    return Counted(counts, complete_since)


def _add_live(
    connection: Connection,
    counts: Counter[tuple[datetime, Happened]],
    names: tuple[str, ...],
    since: datetime,
    now: datetime,
) -> datetime | None:
    """Add what no purge has counted yet; return since when all of it is there."""
    c = audit_events.c
    newest = (
        select(c.at, c.event, c.reason, c["count"])
        .where(c.at >= since, c.at <= now)
        .order_by(c.at.desc())
        .limit(MOST_LIVE)
        .subquery()
    )
    n = newest.c
    hour = _hour(connection, n.at)
    query = select(
        hour,
        n.event,
        n.reason,
        func.sum(n["count"]),
        func.count(),
        func.min(n.at, type_=UtcDateTime()),
    ).group_by(hour, n.event, n.reason)
    rows, oldest = 0, now
    for text, event, reason, count, number, first in connection.execute(query):
        rows, oldest = rows + number, min(oldest, first)
        if event in names:
            counts[_moment(text), Happened(event, reason or "")] += int(count)
    return oldest if rows == MOST_LIVE else None


def _hour(connection: Connection, column: ColumnElement[datetime]) -> ColumnElement[str]:
    """Return the hour of a moment as a text: ``2026-11-21 08:00``."""
    if connection.dialect.name == "postgresql":
        return func.to_char(func.timezone("UTC", column), "YYYY-MM-DD HH24:00")
    text: ColumnElement[Any] = func.strftime("%Y-%m-%d %H:00", column)
    return text


def _moment(hour: str) -> datetime:
    return datetime.fromisoformat(hour).replace(tzinfo=UTC)


def _counted_until(connection: Connection) -> datetime | None:
    """Return the end of the last hour that was counted."""
    last = connection.execute(select(func.max(event_counts.c.hour, type_=UtcDateTime()))).scalar()
    return None if last is None else last + HOUR
