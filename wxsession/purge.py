"""Removing what has been over for longer than it has to be kept.

Along an index on the time that decides, oldest first, in batches that are a transaction each. A
cursor says where the last batch stopped: to start every batch at the head of the index again
would mean to read over all the entries that earlier batches left behind.
"""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Select, any_, delete, func, select, tuple_

from wxsession.db import Database
from wxsession.errors import PurgeRunning
from wxsession.models import audit_events, failed_attempts, login_codes, sessions

BATCH_SIZE = 1000
_LOCK = 0x77787365_7373696F  # "wxsessio", as a PostgreSQL advisory lock has it
_START = (date.min, UUID(int=0))

P = TypeVar("P")
Step = Callable[[P | None], tuple[int, P | None]]
"""Deletes a batch from a place on, None for the head; returns how many, and the next place."""


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

    That is: login codes nobody may replay, failed attempts nobody counts any more, and audit
    events that are older than `audit_retention`.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        *,
        audit_retention: timedelta,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._clock = clock
        self._audit_retention = audit_retention
        self._sleep = sleep

    def run(
        self,
        older_than: timedelta,
        *,
        batch_size: int = BATCH_SIZE,
        max_seconds: float | None = None,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> Purged:
        """Delete what has been over for long; say after each batch how many sessions so far.

        `older_than` is for sessions. They come first: if the time is up before they are done,
        the rest is left to the next run. One that is extended while this runs is kept: the
        whole condition stands in the DELETE itself. May be killed at any time and run again.

        Raises:
            PurgeRunning: another purge of this database is under way.
            Overloaded: the database did not answer in time.
        """
        run = _Run(self._sleep, max_seconds)
        with self._alone():
            now = self._clock()
            gone = run.batches_of(
                lambda after: self._delete_sessions(after, now - older_than, batch_size), progress
            )
            codes, attempts, events = (
                run.batches_of(self._deleting_until(when, until, batch_size))
                for when, until in (
                    (login_codes.c.expires_at, now),
                    (failed_attempts.c.expires_at, now),
                    (audit_events.c.at, now - self._audit_retention),
                )
            )
        return Purged(
            gone, codes, attempts, events, run.batches, run.seconds(), complete=run.complete
        )

    def count(self, older_than: timedelta) -> int:
        """Return how many sessions a purge would delete now."""
        due = _due(self._clock() - older_than)
        with self._database.statement() as connection:
            return connection.execute(select(func.count()).where(due)).scalar_one()

    def count_audit_events(self) -> int:
        """Return how many audit events a purge would delete now."""
        due = audit_events.c.at <= self._clock() - self._audit_retention
        with self._database.statement() as connection:
            return connection.execute(select(func.count()).where(due)).scalar_one()

    def _delete_sessions(
        self, after: tuple[date, UUID] | None, cutoff: datetime, size: int
    ) -> tuple[int, tuple[date, UUID] | None]:
        """Delete the next batch; return how many, and where to go on, None at the end."""
        place = tuple_(sessions.c.purge_on, sessions.c.id)
        found = (
            select(sessions.c.id)
            .where(place > tuple_(*(after or _START)), _due(cutoff))
            .order_by(sessions.c.purge_on, sessions.c.id)
            .limit(size)
            .with_for_update(skip_locked=True)
        )
        doomed = delete(sessions).where(self._chosen(sessions.c.id, found), _due(cutoff))
        with self._database.transaction() as connection:
            gone = connection.execute(doomed.returning(sessions.c.purge_on, sessions.c.id)).all()
        return len(gone), max((row.purge_on, row.id) for row in gone) if gone else None

    def _deleting_until(self, when: Column[datetime], until: datetime, size: int) -> Step[datetime]:
        """Return what deletes, batch by batch, the rows of `when`'s table up to a moment."""
        (key,) = when.table.primary_key

        def delete_next(after: datetime | None) -> tuple[int, datetime | None]:
            # From the last moment on, not behind it: several rows may have the same one.
            due = when <= until if after is None else (when >= after) & (when <= until)
            found = select(key).where(due).order_by(when).limit(size)
            found = found.with_for_update(skip_locked=True)
            doomed = delete(when.table).where(self._chosen(key, found), due)
            with self._database.statement() as connection:
                gone = connection.execute(doomed.returning(when)).scalars().all()
            return len(gone), max(gone, default=None)

        return delete_next

    def _chosen(self, key: ColumnElement[Any], found: Select[Any]) -> ColumnElement[bool]:
        if not self._database.is_postgresql:
            return key.in_(found)
        # PostgreSQL may join IN (SELECT …) by reading the whole table; for an array it looks each
        # key up, whatever its statistics say.
        return key == any_(func.array(found.scalar_subquery()))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = _advisory_lock if self._database.is_postgresql else _file_lock
        with lock(self._database):
            yield


class _Run:
    """The time that a purge has, and what it did in it."""

    def __init__(self, sleep: Callable[[float], None], max_seconds: float | None) -> None:
        self._sleep = sleep
        self._max_seconds = max_seconds
        self._started = time.monotonic()
        self.batches = 0
        self.complete = True

    def batches_of(
        self, step: Step[P], progress: Callable[[int], None] = lambda _done: None
    ) -> int:
        """Take the step until nothing is left or the time is up; return how many are deleted."""
        done, place = 0, None
        while not self._time_is_up():
            begun = time.monotonic()
            deleted, place = step(place)
            self.batches, done = self.batches + bool(deleted), done + deleted
            progress(done)
            if place is None:
                return done
            self._sleep(time.monotonic() - begun)  # half of the time is the others'
        self.complete = False
        return done

    def seconds(self) -> float:
        """Return for how long it has been running."""
        return time.monotonic() - self._started

    def _time_is_up(self) -> bool:
        return self._max_seconds is not None and self.seconds() >= self._max_seconds


def _due(cutoff: datetime) -> ColumnElement[bool]:
    """Return the condition that a session has been over since before `cutoff`."""
    over_since = func.coalesce(sessions.c.ended_at, sessions.c.idle_expires_at)
    return (sessions.c.purge_on <= cutoff.date()) & (over_since <= cutoff)


@contextmanager
def _advisory_lock(database: Database) -> Iterator[None]:
    """Hold PostgreSQL's lock; it goes with its connection, so a killed purge leaves none."""
    with database.statement() as connection:
        if not connection.execute(select(func.pg_try_advisory_lock(_LOCK))).scalar_one():
            raise PurgeRunning
        try:
            yield
        finally:
            connection.execute(select(func.pg_advisory_unlock(_LOCK)))


@contextmanager
def _file_lock(database: Database) -> Iterator[None]:
    """Hold a lock beside the SQLite file; it goes with the process that holds it."""
    path = Path(f"{database.engine.url.database}-purge.lock")
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PurgeRunning from None
        yield
