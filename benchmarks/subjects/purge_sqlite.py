"""The purge on SQLite, and how long writers wait meanwhile."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

from sqlalchemy import select, update

from benchmarks import filling
from benchmarks.bench import Bench
from benchmarks.load import percentile
from benchmarks.noise import CpuTimes
from benchmarks.outcome import Figure, Outcome, Table
from benchmarks.purging import LONG_AGO, finish_purge, start_purge
from wxsession.storage.database import Database, connect
from wxsession.storage.tables import sessions

_WRITERS = 4
_PAUSE = 0.01


def measure(bench: Bench) -> Outcome:
    """Purge a file while some write to it."""
    filled = bench.in_file(bench.scale.growth[0])
    filling.add_expired(filled.url, bench.scale.expired // 2, ago=LONG_AGO)
    before = CpuTimes.now()
    with closing(connect(filled.url)) as database, ThreadPoolExecutor(_WRITERS) as pool:
        ended = threading.Event()
        writers = [pool.submit(_write, database, ended) for _ in range(_WRITERS)]
        try:
            purged = finish_purge(start_purge(filled.url))
            until = time.monotonic()
        finally:
            ended.set()
        writes = [write for writer in writers for write in writer.result()]
    noise = before.until(CpuTimes.now())
    since = until - purged.seconds - 0.2
    waited = sorted(1000 * lasted for begun, lasted in writes if since <= begun <= until)
    worst = percentile(waited, 99)
    figures = [
        Figure(
            "purge on SQLite, thousand rows/s",
            35,
            purged.per_second / 1000,
            unit="",
        ),
        Figure(
            "wait of a writer beside a purge on SQLite, p99",
            50,
            worst,
            unit="ms",
            at_most=True,
        ),
    ]
    rows = [
        ("rows purged in a second", f"{purged.per_second:,.0f}"),
        ("writes meanwhile", f"{len(waited):,}"),
        ("p50 of a write, ms", f"{percentile(waited, 50):.1f}"),
        ("p99 of a write, ms", f"{worst:.1f}"),
        ("noise", f"{noise.total:.1%}"),
    ]
    note = f"{_WRITERS} writers, each of them writes, rests for {1000 * _PAUSE:.0f} ms, and so on."
    return Outcome([Table(("", ""), rows)], figures, [note])


def _write(database: Database, ended: threading.Event) -> list[tuple[float, float]]:
    """Touch a session again and again; return when each write began, and the seconds it took."""
    with database.statement() as connection:
        some = connection.execute(
            select(sessions.c.id).where(sessions.c.idle_expires_at > datetime.now(UTC)).limit(1)
        ).scalar_one()
    taken = []
    while not ended.is_set():
        begun = time.monotonic()
        with database.transaction() as connection:
            touch = update(sessions).where(sessions.c.id == some)
            connection.execute(touch.values(confirmed_at=datetime.now(UTC)))
        taken.append((begun, time.monotonic() - begun))
        ended.wait(_PAUSE)
    return taken
