"""A job lock: a row with a lease, held by the only process that may do a job.

Not a lock of the database session: a pooler in transaction mode gives the next statement to another
session. The lease is by the clock of the database, so the clocks of several hosts do not matter. If
the process dies, the next one gets the lock as soon as the lease has expired.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, DateTime, delete, func, literal, select, update

from wxsession.errors import Overloaded, WxSessionError
from wxsession.storage.database import Database, UtcDateTime, new_id
from wxsession.storage.leases import LEASE, Leases, claiming
from wxsession.storage.tables import leases

_PATIENCE = 2 * LEASE.total_seconds()


@contextmanager
def job_lock(
    database: Database,
    name: str,
    refusal: type[WxSessionError],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Be the only one at a job while the block runs.

    Waits for the lease of a process that died, which takes its length at most.

    Raises:
        WxSessionError: the `refusal`, if another process renews its lease.
        Overloaded: the database did not answer in time.
    """
    holder = new_id()
    lease = Leases(patience=_PATIENCE, sleep=sleep)
    if not _acquire(database, name, holder, lease):
        raise refusal
    try:
        with lease.renewed(partial(_renew, database, name), holder):
            yield
    finally:
        with suppress(Overloaded), database.statement() as connection:
            connection.execute(delete(leases).where(_is_of(name, holder)))


def _acquire(database: Database, name: str, holder: UUID, lease: Leases) -> bool:
    """Return whether the lock is ours; it is not if somebody renews theirs."""
    seen: datetime | None = None
    query = select(leases.c.held_until).where(leases.c.name == name)
    for _ in lease.attempts():
        if _take(database, name, holder):
            return True
        with database.statement() as connection:
            held_until = connection.execute(query).scalar_one_or_none()
        if None not in {seen, held_until} and held_until != seen:
            break
        seen = held_until
    return False


def _take(database: Database, name: str, holder: UUID) -> bool:
    is_free = leases.c.held_until <= _in(database, timedelta(0))
    claim = claiming(database, leases.c.holder, leases.c.held_until, is_free=is_free)
    claim = claim.values(name=name, holder=holder, held_until=_in(database, LEASE))
    with database.statement() as connection:
        return connection.execute(claim).first() is not None


def _renew(database: Database, name: str, holders: frozenset[UUID]) -> None:
    (holder,) = holders
    renewing = update(leases).where(_is_of(name, holder))
    with database.statement() as connection:
        connection.execute(renewing.values(held_until=_in(database, LEASE)))


def _is_of(name: str, holder: UUID) -> ColumnElement[bool]:
    return (leases.c.name == name) & (leases.c.holder == holder)


def _in(database: Database, length: timedelta) -> ColumnElement[Any]:
    """Return the moment after `length`, by the clock of the database."""
    if database.is_postgresql:
        return func.clock_timestamp(type_=DateTime(timezone=True)) + length
    return literal(datetime.now(UTC) + length, UtcDateTime())  # a file has its host's clock
