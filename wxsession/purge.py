"""Removing what has been over for longer than it has to be kept.

Along the index on the purge date, oldest first, in batches that are a transaction each. A cursor
says where the last batch stopped: to start every batch at the head of the index again would mean
to read over all the entries that earlier batches left behind.
"""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import ColumnElement, Select, any_, delete, func, select, tuple_

from wxsession.db import Database
from wxsession.errors import PurgeRunning
from wxsession.models import login_codes, sessions

BATCH_SIZE = 1000
_LOCK = 0x77787365_7373696F  # "wxsessio", as a PostgreSQL advisory lock has it
_START = (date.min, UUID(int=0))


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did; `complete` is False where the time was up before all was done."""

    sessions: int
    login_codes: int
    batches: int
    seconds: float
    complete: bool


class Purge:
    """Deletes sessions that ended or expired long ago, and login codes nobody may replay."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._clock = clock
        self._sleep = sleep

    def run(
        self,
        older_than: timedelta,
        *,
        batch_size: int = BATCH_SIZE,
        max_seconds: float | None = None,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> Purged:
        """Delete what has been over for longer than `older_than`; say after each batch how much.

        A session that is extended while this runs is kept: the whole condition stands in the
        DELETE itself. May be killed at any time and run again.

        Raises:
            PurgeRunning: another purge of this database is under way.
            Overloaded: the database did not answer in time.
        """
        started, batches, done = time.monotonic(), 0, 0
        cutoff = self._clock() - older_than

        def time_is_up() -> bool:
            return max_seconds is not None and time.monotonic() - started >= max_seconds

        with self._alone():
            codes = self._delete_login_codes(batch_size)
            cursor: tuple[date, UUID] | None = _START
            while cursor and not time_is_up():
                begun = time.monotonic()
                deleted, cursor = self._delete_batch(cursor, cutoff, batch_size)
                batches, done = batches + 1, done + deleted
                progress(done)
                if cursor:
                    self._sleep(time.monotonic() - begun)  # half of the time is the others'
        return Purged(done, codes, batches, time.monotonic() - started, complete=cursor is None)

    def count(self, older_than: timedelta) -> int:
        """Return how many sessions a purge would delete now."""
        due = _due(self._clock() - older_than)
        with self._database.statement() as connection:
            return connection.execute(select(func.count()).where(due)).scalar_one()

    def _delete_batch(
        self, after: tuple[date, UUID], cutoff: datetime, size: int
    ) -> tuple[int, tuple[date, UUID] | None]:
        """Delete the next batch; return how many, and where to go on, None at the end."""
        place = tuple_(sessions.c.purge_on, sessions.c.id)
        found = (
            select(sessions.c.id)
            .where(place > tuple_(*after), _due(cutoff))
            .order_by(sessions.c.purge_on, sessions.c.id)
            .limit(size)
            .with_for_update(skip_locked=True)
        )
        doomed = delete(sessions).where(self._chosen(found), _due(cutoff))
        with self._database.transaction() as connection:
            gone = connection.execute(doomed.returning(sessions.c.purge_on, sessions.c.id)).all()
        return len(gone), max((row.purge_on, row.id) for row in gone) if gone else None

    def _chosen(self, found: Select[tuple[UUID]]) -> ColumnElement[bool]:
        if not self._database.is_postgresql:
            return sessions.c.id.in_(found)
        # PostgreSQL may join IN (SELECT …) by reading the whole table; for an array it looks each
        # id up, whatever its statistics say.
        return sessions.c.id == any_(func.array(found.scalar_subquery()))

    def _delete_login_codes(self, size: int) -> int:
        found = select(login_codes.c.code_hash).where(login_codes.c.expires_at <= self._clock())
        doomed = delete(login_codes).where(login_codes.c.code_hash.in_(found.limit(size)))
        done = 0
        with self._database.statement() as connection:
            while deleted := connection.execute(doomed).rowcount:
                done += deleted
        return done

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = _advisory_lock if self._database.is_postgresql else _file_lock
        with lock(self._database):
            yield


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
