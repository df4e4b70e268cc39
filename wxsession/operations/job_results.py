"""What the jobs of an operator did: a row that outlives the process of a command."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select

from wxsession.storage.database import Database, upsert
from wxsession.storage.tables import job_results


class JobResult(NamedTuple):
    """How many rows a job has dealt with in one table since ever, and when it last finished."""

    job: str
    item: str
    total: int
    succeeded_at: datetime | None


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


def results(database: Database) -> list[JobResult]:
    """Return what every job did so far.

    Raises:
        Overloaded: the database did not answer in time.
    """
    query = select(*(job_results.c[name] for name in JobResult._fields))
    with database.statement() as connection:
        return [JobResult._make(row) for row in connection.execute(query)]
