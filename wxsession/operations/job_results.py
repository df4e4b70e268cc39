"""What the jobs of an operator did: a row that outlives the process of a command."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import delete, func, insert, select

from wxsession.storage.database import Database, new_id, upsert
from wxsession.storage.tables import job_results, job_runs

RUNS_KEPT: Final = timedelta(days=90)
"""How long a run of a job is remembered."""


class JobResult(NamedTuple):
    """How many rows a job has dealt with in one table since ever, and when it last finished."""

    job: str
    item: str
    total: int
    succeeded_at: datetime | None


class Run(NamedTuple):
    """What a run of a job did: with how many rows it dealt, in how long, and whether with all."""

    ended_at: datetime
    milliseconds: int
    rows: int
    complete: bool


def record(database: Database, job: str, counts: Mapping[str, int], *, complete: bool) -> None:
    """Add what a run of a job did in each table; a `complete` one has succeeded now.

    Raises:
        Overloaded: the database did not answer in time.
    """
    now = database.now() if complete else None
    insertion = upsert(database, job_results)
    earlier, new = job_results.c, insertion.excluded
    adding = insertion.on_conflict_do_update(
        index_elements=[earlier.job, earlier.item],
        set_={
            "total": earlier.total + new.total,
            "succeeded_at": func.coalesce(new.succeeded_at, earlier.succeeded_at),
        },
    )
    rows = [
        {"job": job, "item": item, "total": count, "succeeded_at": now}
        for item, count in counts.items()
    ]
    # Several rows in one call would not wait for other writers of an SQLite file; BEGIN does.
    with database.transaction() as transaction:
        transaction.execute(adding, rows)


def replace(database: Database, job: str, totals: Mapping[str, int]) -> None:
    """Set what a job found, in place of what it found before.

    Raises:
        Overloaded: the database did not answer in time.
    """
    with database.transaction() as transaction:
        transaction.execute(delete(job_results).where(job_results.c.job == job))
        for item, total in totals.items():
            row = {"job": job, "item": item, "total": total}
            transaction.execute(insert(job_results).values(row))


def note(database: Database, job: str, item: str, total: int) -> None:
    """Set what a job found just now, in place of what it found before.

    Raises:
        Overloaded: the database did not answer in time.
    """
    insertion = upsert(database, job_results)
    new = {"total": insertion.excluded.total, "succeeded_at": insertion.excluded.succeeded_at}
    row = {"job": job, "item": item, "total": total, "succeeded_at": database.now()}
    with database.statement() as connection:
        noting = insertion.on_conflict_do_update(index_elements=["job", "item"], set_=new)
        connection.execute(noting, row)


def record_run(database: Database, job: str, run: Run) -> None:
    """Remember a run of a job, and forget those of long ago.

    Raises:
        Overloaded: the database did not answer in time.
    """
    c = job_runs.c
    with database.transaction() as transaction:
        old = delete(job_runs).where(c.job == job, c.ended_at < run.ended_at - RUNS_KEPT)
        transaction.execute(old)
        transaction.execute(insert(job_runs).values(id=new_id(), job=job, **run._asdict()))


def runs(database: Database, job: str, *, limit: int) -> list[Run]:
    """Return the last runs of a job, newest first.

    Raises:
        Overloaded: the database did not answer in time.
    """
    c = job_runs.c
    query = select(*(c[name] for name in Run._fields)).where(c.job == job)
    newest = query.order_by(c.ended_at.desc(), c.id.desc()).limit(limit)
    with database.statement() as connection:
        return [Run._make(row) for row in connection.execute(newest)]


def results(database: Database) -> list[JobResult]:
    """Return what every job did so far.

    Raises:
        Overloaded: the database did not answer in time.
    """
    query = select(*(job_results.c[name] for name in JobResult._fields))
    with database.statement() as connection:
        return [JobResult._make(row) for row in connection.execute(query)]
