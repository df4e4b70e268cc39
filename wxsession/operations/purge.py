"""The purge: deletes what ended or expired longer ago than it has to be kept.

Rows go oldest first, along an index on the time that decides, in batches that are a transaction
each. A cursor remembers where the last batch stopped: starting again at the head of the index
would read all the dead entries that earlier batches left there, more of them each time.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    Table,
    any_,
    delete,
    func,
    literal,
    select,
    tuple_,
)

from wxsession.accounts.deletion import Deletion
from wxsession.common.clock import Clock, Timing
from wxsession.errors import ClocksDisagree, PurgeRunning
from wxsession.operations.batching import FIRST_SIZE, BatchSize
from wxsession.operations.event_counts import fold
from wxsession.operations.job_lock import job_lock
from wxsession.operations.job_results import Run, record, record_run
from wxsession.operations.live_sessions import count_live
from wxsession.storage.database import TABLE_PREFIX, Database, Executor, read_by_index
from wxsession.storage.sqlite_busy import MAX_BUSY_PAUSE
from wxsession.storage.tables import (
    audit_events,
    device_codes,
    failed_attempts,
    login_codes,
    sessions,
    tickets,
)
from wxsession.users.merging import finish_merges

JOB = "purge"
"""The name of the job: of its lock, and of its results."""

FURTHEST_APART = timedelta(minutes=1)
"""How far the clocks of this host and the database may differ."""


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """How many rows of each table a purge deleted; `complete` is False if its time was up first."""

    sessions: int
    login_codes: int
    tickets: int
    device_codes: int
    failed_attempts: int
    audit_events: int
    batches: int
    seconds: float
    complete: bool


class Purge:
    """Deletes sessions that ended or expired long ago, and other rows whose time is over.

    These are users that were merged into others or deleted, and have no session left, login codes
    that may not be replayed any more, tickets and device codes that nobody redeemed, failed
    attempts that do not count any more, and audit events that are older than `audit_retention`.
    First it counts the events of each hour that is over, and clears what is left of users who were
    deleted; at the end it counts the live sessions.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        audit_retention: timedelta,
        deletion: Deletion,
        timing: Timing = time,
        host_time: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._clock = clock
        self._audit_retention = audit_retention
        self._deletion = deletion
        self._timing = timing
        self._host_time = host_time
        self._strategy = POSTGRESQL if database.is_postgresql else SQLITE

    def run(
        self,
        older_than: timedelta,
        *,
        batch_size: int | None = None,
        max_seconds: float | None = None,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> PurgeResult:
        """Delete everything that is due; after each batch, report how many sessions are deleted.

        `older_than` is for sessions, which come first: if the time is up before they are done,
        the rest is left to the next run. Without a `batch_size` the batches become as large as
        the database can delete quickly. May be killed at any time and run again.

        Raises:
            PurgeRunning: another purge of this database is running.
            ClocksDisagree: this host and its database do not agree what time it is.
            Overloaded: the database did not answer in time.
        """
        strategy, timing = self._strategy, self._timing
        target = strategy.target_seconds if batch_size is None else None
        first_size = BatchSize(batch_size or FIRST_SIZE, target, strategy.shortest_pause)
        deleted, batches = Counter[Table](), 0
        begun = timing.monotonic()
        deadline = math.inf if max_seconds is None else begun + max_seconds
        self._ensure_clocks_agree()
        with job_lock(self._database, JOB, PurgeRunning, sleep=timing.sleep):
            # Before any of the events is deleted.
            complete = fold(
                self._database, self._clock(), is_time=lambda: timing.monotonic() < deadline
            )
            complete &= self._clear_deleted_users(first_size, deadline)
            for expired in self._expired(self._clock(), older_than):
                size, cursor = first_size, None
                while True:
                    if timing.monotonic() >= deadline:
                        complete = False
                        break
                    with self._database.transaction() as connection:
                        # To wait for a connection or another writer is not part of the batch.
                        batch_begun = timing.monotonic()
                        count, cursor = strategy.delete(connection, expired, cursor, size.size)
                    elapsed = timing.monotonic() - batch_begun
                    deleted[expired.table] += count
                    batches += bool(count)
                    progress(deleted[sessions])
                    if cursor is None:
                        break
                    size = size.adjusted(elapsed)
                    timing.sleep(size.pause_after(elapsed))
            finish_merges(self._database)
            for user_id in self._deleted_users():
                self._deletion.forget(user_id, self._clock() - older_than)
            every = [expired.table for expired in self._expired(self._clock(), older_than)]
            counts = {short_name(table): deleted[table] for table in every}
            record(self._database, JOB, counts, complete=complete)
            seconds = timing.monotonic() - begun
            run = Run(self._clock(), round(seconds * 1000), deleted.total(), complete)
            record_run(self._database, JOB, run)
            count_live(
                self._database,
                self._clock(),
                is_time=lambda: timing.monotonic() < deadline,
                pause=lambda: timing.sleep(strategy.shortest_pause),
            )
        return PurgeResult(
            sessions=deleted[sessions],
            login_codes=deleted[login_codes],
            tickets=deleted[tickets],
            device_codes=deleted[device_codes],
            failed_attempts=deleted[failed_attempts],
            audit_events=deleted[audit_events],
            batches=batches,
            seconds=seconds,
            complete=complete,
        )

    def _clear_deleted_users(self, size: BatchSize, deadline: float) -> bool:
        """Clear what is left of deleted users; return whether the time was enough."""
        timing = self._timing
        for user_id in self._deleted_users():
            is_last = False
            while not is_last:
                begun = timing.monotonic()
                if begun >= deadline:
                    return False
                is_last = self._deletion.clear(user_id).is_last
                timing.sleep(size.pause_after(timing.monotonic() - begun))
        return True

    def _deleted_users(self) -> Iterator[UUID]:
        after = UUID(int=0)
        while found := self._deletion.unfinished(after, FIRST_SIZE):
            yield from found
            after = found[-1]

    def count(self, older_than: timedelta) -> int:
        """Return how many sessions a purge would delete now.

        Raises:
            ClocksDisagree, Overloaded: as for `run`.
        """
        return self._count(_expired_sessions(self._clock() - older_than))

    def count_audit_events(self) -> int:
        """Return how many audit events a purge would delete now.

        Raises:
            ClocksDisagree, Overloaded: as for `run`.
        """
        return self._count(_expired_events(self._clock() - self._audit_retention))

    def _count(self, expired: "Expired") -> int:
        self._ensure_clocks_agree()
        with self._database.long_transaction() as connection:
            read_by_index(connection)
            return connection.execute(select(func.count()).where(expired.condition)).scalar_one()

    def _ensure_clocks_agree(self) -> None:
        # A host whose clock is wrong would delete what is live.
        apart = self._database.now() - self._host_time()
        if abs(apart) > FURTHEST_APART:
            raise ClocksDisagree(int(apart.total_seconds()))

    def _expired(self, now: datetime, older_than: timedelta) -> "tuple[Expired, ...]":
        return (
            _expired_sessions(now - older_than),
            Expired.at(login_codes, login_codes.c.expires_at, now),
            Expired.at(tickets, tickets.c.expires_at, now),
            Expired.at(device_codes, device_codes.c.expires_at, now),
            Expired.at(failed_attempts, failed_attempts.c.expires_at, now),
            _expired_events(now - self._audit_retention),
        )


class Cursor(NamedTuple):
    """Where a batch stopped: the time and the primary key of its last row."""

    when: Any
    key: Any


@dataclass(frozen=True, slots=True)
class Expired:
    """The rows of one table that are due, in the order in which they are deleted."""

    table: Table
    when: Column[Any]
    """The time that decides; there is an index on it."""
    condition: ColumnElement[bool]

    @classmethod
    def at(cls, table: Table, when: Column[datetime], moment: datetime) -> "Expired":
        """Return the rows whose time has come at a moment."""
        return cls(table, when, when <= moment)

    @property
    def key(self) -> Column[Any]:
        """The primary key, by which rows of one time are ordered."""
        (key,) = self.table.primary_key
        return key

    def next(self, after: Cursor | None, size: int) -> Select[tuple[Any, Any]]:
        """Return the query for the next cursors `after` one, or from the head of the index."""
        query = select(self.when.label("when"), self.key.label("key")).where(self.condition)
        if after is not None:
            here = tuple_(literal(after.when, self.when.type), literal(after.key, self.key.type))
            query = query.where(tuple_(self.when, self.key) > here)
        # A row that somebody is changing is left to the next purge, instead of waiting for it.
        return query.order_by(self.when, self.key).limit(size).with_for_update(skip_locked=True)


def short_name(table: Table) -> str:
    """Return the name of a table of ours as people and metrics have it."""
    return table.name.removeprefix(TABLE_PREFIX)


def _expired_sessions(since: datetime) -> Expired:
    """Return the sessions that ended or expired before a moment."""
    # The index is on the day alone: so a session that is in use moves in it once a day at most.
    purge_on = sessions.c.purge_on
    over_since = func.coalesce(sessions.c.ended_at, sessions.c.idle_expires_at)
    return Expired(sessions, purge_on, (purge_on <= since.date()) & (over_since <= since))


def _expired_events(since: datetime) -> Expired:
    return Expired.at(audit_events, audit_events.c.at, since)


def _delete_in_postgresql(
    connection: Executor, expired: Expired, after: Cursor | None, size: int
) -> tuple[int, Cursor | None]:
    """Delete a batch in one statement; return how many rows, and the cursor, None at the end."""
    found = expired.next(after, size).cte("found")
    # PostgreSQL may join IN (SELECT …) by reading the whole table; for an array it looks each
    # key up, whatever its statistics say.
    keys = any_(func.array(select(found.c.key).scalar_subquery()))
    # The condition again: a session that was extended after `found` read it is kept.
    deletion = delete(expired.table).where(expired.key == keys, expired.condition)
    gone = deletion.returning(expired.key).cte("gone")
    count = select(func.count()).select_from(gone).scalar_subquery()
    last = select(count, found.c.when, found.c.key)
    row = connection.execute(_last_of(last)).one_or_none()
    return (0, None) if row is None else (row[0], Cursor(row.when, row.key))


def _delete_in_sqlite(
    connection: Executor, expired: Expired, after: Cursor | None, size: int
) -> tuple[int, Cursor | None]:
    """Do the same in two statements; nobody else writes between them in SQLite."""
    found = expired.next(after, size).subquery("found")
    row = connection.execute(_last_of(select(found))).one_or_none()
    deletion = delete(expired.table).where(expired.key.in_(select(found.c.key)), expired.condition)
    count = connection.execute(deletion).rowcount
    return count, None if row is None else Cursor(row.when, row.key)


def _last_of(found: Select[Any]) -> Select[Any]:
    columns = found.selected_columns
    return found.order_by(columns.when.desc(), columns.key.desc()).limit(1)


@dataclass(frozen=True, slots=True)
class Strategy:
    """How to delete a batch in one of the databases, and at what pace."""

    delete: Callable[[Executor, Expired, Cursor | None, int], tuple[int, Cursor | None]]
    target_seconds: float
    """How long a batch should take."""
    shortest_pause: float
    """How long to pause after a batch, however short it was."""


POSTGRESQL = Strategy(_delete_in_postgresql, target_seconds=0.05, shortest_pause=0.0)

# While a batch runs, every other writer of the file waits. Each of them asks again within
# `MAX_BUSY_PAUSE`: a pause of that length is one in which all of them find the file free.
SQLITE = Strategy(_delete_in_sqlite, target_seconds=0.016, shortest_pause=MAX_BUSY_PAUSE)
