"""Removing what has been over for longer than it has to be kept.

Along an index on the time that decides, oldest first, in batches that are a transaction each. A
cursor says where the last batch stopped: to start every batch at the head of the index again
would mean to read over all the entries that earlier batches left behind. The rows stay in the
database: it counts them, and says where the batch stopped.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Select,
    any_,
    delete,
    func,
    literal,
    select,
    tuple_,
)

from wxsession.clock import Clock
from wxsession.errors import ClocksDisagree, PurgeRunning
from wxsession.operations.batching import FIRST_SIZE, BatchSize
from wxsession.operations.job_lock import JobLocked, job_lock
from wxsession.storage.database import Asks, Database
from wxsession.storage.sqlite_busy import MAX_BUSY_PAUSE
from wxsession.storage.tables import audit_events, failed_attempts, login_codes, sessions
from wxsession.users.merging import finish_merges

_JOB = "purge"
_FURTHEST_APART = timedelta(minutes=1)
_AIM = 0.05
_AIM_OF_SQLITE = 0.016  # meanwhile every writer of the file stands still

Place = tuple[Any, Any]
"""A row's place in the order of going: its time, and its key."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did; `complete` is False where the time was up before all was done."""

    sessions: int
    login_codes: int
    failed_attempts: int
    audit_events: int
    batches: int
    seconds: float
    complete: bool


class Purge:
    """Deletes sessions that ended or expired long ago, and what else is over.

    That is: merged users of whom no session is left, login codes nobody may replay, failed
    attempts nobody counts any more, and audit events that are older than `audit_retention`.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        audit_retention: timedelta,
        sleep: Callable[[float], None] = time.sleep,
        timer: Callable[[], float] = time.monotonic,
        host_time: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._host_time = host_time
        self._clock = clock
        self._audit_retention = audit_retention
        self._sleep = sleep
        self._timer = timer

    def run(
        self,
        older_than: timedelta,
        *,
        batch_size: int | None = None,
        max_seconds: float | None = None,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> Purged:
        """Delete what has been over for long; say after each batch how many sessions so far.

        `older_than` is for sessions. They come first: if the time is up before they are done,
        the rest is left to the next run. One that is extended while this runs is kept: the
        whole condition stands in the DELETE itself. May be killed at any time and run again.

        Without a `batch_size` the batches become as large as the database can do quickly.

        Raises:
            PurgeRunning: another purge of this database is under way.
            ClocksDisagree: what time it is, this host and its database do not agree about.
            Overloaded: the database did not answer in time.
        """
        run = _Run(self._deletion(), self._sleep, self._timer, max_seconds)
        pace = self._pace(batch_size)
        self._ensure_clocks_agree()
        try:
            with job_lock(self._database, _JOB, sleep=self._sleep):
                now = self._clock()
                gone = run.delete(_sessions_over(now - older_than), pace, progress)
                finish_merges(self._database)
                codes, attempts, events = (
                    run.delete(over, pace)
                    for over in (
                        _Over.until(login_codes.c.expires_at, now),
                        _Over.until(failed_attempts.c.expires_at, now),
                        _Over.until(audit_events.c.at, now - self._audit_retention),
                    )
                )
        except JobLocked:
            raise PurgeRunning from None
        return Purged(
            gone, codes, attempts, events, run.batches, run.seconds(), complete=run.complete
        )

    def count(self, older_than: timedelta) -> int:
        """Return how many sessions a purge would delete now.

        Raises:
            ClocksDisagree, Overloaded: as for `run`.
        """
        return self._count(_sessions_over(self._clock() - older_than))

    def count_audit_events(self) -> int:
        """Return how many audit events a purge would delete now."""
        return self._count(_Over.until(audit_events.c.at, self._clock() - self._audit_retention))

    def _count(self, over: "_Over") -> int:
        self._ensure_clocks_agree()
        with self._database.long_transaction() as connection:
            return connection.execute(select(func.count()).where(over.condition)).scalar_one()

    def _ensure_clocks_agree(self) -> None:
        """Return if this host may say what is over: a wrong clock would delete what is live."""
        apart = self._database.now() - self._host_time()
        if abs(apart) > _FURTHEST_APART:
            raise ClocksDisagree(int(apart.total_seconds()))

    def _deletion(self) -> "_Deletion":
        kind = _delete_in_postgresql if self._database.is_postgresql else _delete_in_sqlite
        return _Deletion(self._database, self._timer, kind)

    def _pace(self, batch_size: int | None) -> BatchSize:
        if self._database.is_postgresql:
            aim, rest = _AIM, 0.0
        else:  # whoever waits for the file asks for it once in every rest, and finds it free
            aim, rest = _AIM_OF_SQLITE, MAX_BUSY_PAUSE
        return (
            BatchSize(FIRST_SIZE, aim, rest)
            if batch_size is None
            else BatchSize(batch_size, None, rest)
        )


@dataclass(frozen=True, slots=True)
class _Over:
    """Rows that are over, in the order in which they go."""

    when: Column[Any]
    """A time of theirs, along whose index they are found."""
    condition: ColumnElement[bool]

    @classmethod
    def until(cls, when: Column[datetime], moment: datetime) -> "_Over":
        """Return the rows whose time has come at a moment."""
        return cls(when, when <= moment)

    @property
    def key(self) -> Column[Any]:
        """What tells rows of one time apart."""
        (key,) = self.when.table.primary_key
        return key

    def next(self, after: Place | None, size: int) -> Select[tuple[Any, Any]]:
        """Return the query for the places of the next ones behind `after`, None for the head."""
        found = select(self.when.label("when"), self.key.label("key")).where(self.condition)
        if after is not None:
            when, key = after
            here = tuple_(literal(when, self.when.type), literal(key, self.key.type))
            found = found.where(tuple_(self.when, self.key) > here)
        found = found.order_by(self.when, self.key).limit(size)
        return found.with_for_update(skip_locked=True)


def _sessions_over(since: datetime) -> _Over:
    """Return the sessions that have been over since before a moment."""
    over_since = func.coalesce(sessions.c.ended_at, sessions.c.idle_expires_at)
    purge_on = sessions.c.purge_on
    return _Over(purge_on, (purge_on <= since.date()) & (over_since <= since))


Delete = Callable[[Asks, _Over, Place | None, int], tuple[int, Place | None]]
"""Deletes the next rows behind a place; returns how many, and the last place, None at the end."""


def _delete_in_postgresql(
    connection: Asks, over: _Over, after: Place | None, size: int
) -> tuple[int, Place | None]:
    found = over.next(after, size).cte("found")
    # PostgreSQL may join IN (SELECT …) by reading the whole table; for an array it looks each
    # key up, whatever its statistics say.
    keys = any_(func.array(select(found.c.key).scalar_subquery()))
    doomed = delete(over.key.table).where(over.key == keys, over.condition)
    gone = doomed.returning(over.key).cte("gone")
    count = select(func.count()).select_from(gone).scalar_subquery()
    last = select(count, found.c.when, found.c.key).order_by(*_latest_first(found)).limit(1)
    row = connection.execute(last).one_or_none()
    return (0, None) if row is None else (row[0], (row.when, row.key))


def _delete_in_sqlite(
    connection: Asks, over: _Over, after: Place | None, size: int
) -> tuple[int, Place | None]:
    # Nobody else writes between the two: the transaction has the file for itself.
    found = over.next(after, size).subquery("found")
    last = select(found).order_by(*_latest_first(found)).limit(1)
    row = connection.execute(last).one_or_none()
    doomed = delete(over.key.table).where(over.key.in_(select(found.c.key)), over.condition)
    gone = connection.execute(doomed).rowcount
    return gone, None if row is None else (row.when, row.key)


def _latest_first(found: FromClause) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    return found.c.when.desc(), found.c.key.desc()


@dataclass(frozen=True, slots=True)
class _Deletion:
    """Deletes a batch, in a transaction of its own."""

    _database: Database
    _timer: Callable[[], float]
    _delete: Delete

    def __call__(
        self, over: _Over, after: Place | None, size: int
    ) -> tuple[int, Place | None, float]:
        """Return how many went, the last place, and for how many seconds others were kept off.

        To wait for a connection or for another writer is not among them.
        """
        with self._database.transaction() as connection:
            begun = self._timer()
            deleted, place = self._delete(connection, over, after, size)
        return deleted, place, self._timer() - begun


class _Run:
    """The time that a purge has, and what it did in it."""

    def __init__(
        self,
        deletion: _Deletion,
        sleep: Callable[[float], None],
        timer: Callable[[], float],
        max_seconds: float | None,
    ) -> None:
        self._deletion = deletion
        self._sleep = sleep
        self._timer = timer
        self._max_seconds = max_seconds
        self._started = timer()
        self.batches = 0
        self.complete = True

    def delete(
        self, over: _Over, pace: BatchSize, progress: Callable[[int], None] = lambda _done: None
    ) -> int:
        """Delete until nothing is left or the time is up; return how many rows went."""
        done, place = 0, None
        while not self._time_is_up():
            deleted, place, seconds = self._deletion(over, place, pace.size)
            self.batches, done = self.batches + bool(deleted), done + deleted
            progress(done)
            if place is None:
                return done
            pace = pace.after(seconds)
            self._sleep(pace.pause_after(seconds))
        self.complete = False
        return done

    def seconds(self) -> float:
        """Return for how long it has been running."""
        return self._timer() - self._started

    def _time_is_up(self) -> bool:
        return self._max_seconds is not None and self.seconds() >= self._max_seconds
