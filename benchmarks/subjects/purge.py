"""The purge on PostgreSQL: alone, and while sixteen clients check."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from benchmarks import filling
from benchmarks.bench import Bench, FilledDatabase
from benchmarks.database import Postgres
from benchmarks.load import asking
from benchmarks.outcome import Figure, Outcome, Table, of_results
from benchmarks.purging import LONG_AGO, Purged, finish_purge, start_purge
from benchmarks.rounds import Target, compare, p99
from benchmarks.servers import Ours

_QUIET = "check, nobody purges"
_BESIDE = "check beside a purge"


def measure(bench: Bench) -> Outcome:
    """Purge as fast as it goes; then compare the check with itself."""
    filled = bench.ours()
    filling.add_expired(filled.url, bench.scale.expired, ago=LONG_AGO)
    bench.postgres.vacuum(filled.name)
    alone, on_disk = finish_purge(start_purge(filled.url)), _purge_on_disk(bench)
    purges: list[Purged] = []
    ended: list[bool] = []
    check = asking("/check_session", filled.requests)

    def purging(_port: int) -> AbstractContextManager[None]:
        return _purging(bench, filled, purges, ended)

    results = compare(
        bench,
        [
            Target(_QUIET, Ours, filled.url, check),
            Target(_BESIDE, Ours, filled.url, check, beside=purging),
        ],
    )
    beside = Purged(
        sum(purged.sessions for purged in purges), sum(purged.seconds for purged in purges)
    )
    slower = results[_BESIDE].to(results[_QUIET], p99)
    found = of_results(
        results,
        [
            Figure(
                "purge on PostgreSQL beside 16 checking clients, thousand rows/s",
                100,
                beside.per_second / 1000,
                unit="",
            ),
            Figure("p99 of a check beside a purge, against idle", 1.5, slower, at_most=True),
        ],
        [f"{sum(ended)} of {len(ended)} purges had nothing left before the checks ended."],
    )
    rows = [
        (name, f"{purged.per_second:,.0f}")
        for name, purged in (
            ("alone", alone),
            ("beside the checks", beside),
            ("alone, on a disk with fsync and full_page_writes", on_disk),
        )
    ]
    tables = [*found.tables, Table(("purge", "rows/s"), rows)]
    return replace(found, tables=tables)


def _purge_on_disk(bench: Bench) -> Purged:
    with Postgres(on_disk=True) as postgres:
        filled = replace(bench, postgres=postgres).fresh(bench.scale.sessions // 5)
        filling.add_expired(filled.url, bench.scale.expired // 3, ago=LONG_AGO)
        postgres.vacuum(filled.name)
        return finish_purge(start_purge(filled.url))


@contextmanager
def _purging(
    bench: Bench, filled: FilledDatabase, purges: list[Purged], ended: list[bool]
) -> Iterator[None]:
    """Let a purge run through the whole block, with enough to delete; note if it was not."""
    over = "SELECT count(*) FROM wxsession_sessions WHERE idle_expires_at < now()"
    missing = bench.scale.expired - bench.postgres.scalar(filled.name, over)
    if missing > 0:
        filling.add_expired(filled.url, missing, ago=LONG_AGO)
        bench.postgres.vacuum(filled.name)
    process = start_purge(filled.url, max_seconds=bench.scale.seconds + 2)
    with process:
        locked = "SELECT count(*) FROM wxsession_leases WHERE held_until > now()"
        while process.poll() is None and not bench.postgres.scalar(filled.name, locked):
            time.sleep(0.01)
        yield
        ended.append(process.poll() is not None)
        purges.append(finish_purge(process))
