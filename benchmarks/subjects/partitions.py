"""Events in one table, as they are, and in a partition for each month, as they could be."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from benchmarks.bench import Bench
from benchmarks.database import Postgres
from benchmarks.filling import migrate
from benchmarks.outcome import Outcome, Table
from benchmarks.population import USER_AGENT
from benchmarks.processes import cpu_seconds
from tests.support.settings import APPID

_NAME: Final = "partitions"
_MONTHS: Final = 7
_USERS: Final = 50_000
_BATCH: Final = 5_000
_PLACE: Final = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
_PLAIN: Final = "wxsession_events"
_PARTED: Final = "parted"

_COLUMNS: Final = (
    "id, at, event, user_id, session_id, appid, client_address, user_agent, request_id, recorded_at"
)
_FILL: Final = """
INSERT INTO {table} ({columns})
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7e008'
        || lpad(to_hex(i), 15, '0'))::uuid, at, 'session.created',
       md5((i::bigint * 7919 % {users})::text)::uuid, md5(i::text)::uuid, '{appid}',
       '10.0.' || i / 256 % 256 || '.' || i % 256, '{user_agent}', md5(i::text)::uuid::text, at
FROM generate_series({months} * {count}, ({months} + 1) * {count} - 1) AS i,
     LATERAL (SELECT timestamptz '2026-01-01' + interval '30 days' * i / {count}) AS o(at)
"""
# The key of a partitioned table has to have the column by which it is divided.
_MAKE: Final = f"""
CREATE TABLE {_PARTED} (LIKE {_PLAIN} INCLUDING DEFAULTS, PRIMARY KEY (id, at))
    PARTITION BY RANGE (at);
CREATE INDEX ON {_PARTED} (at);
CREATE INDEX ON {_PARTED} (user_id, at, id);
CREATE INDEX ON {_PARTED} (client_address, at);
CREATE INDEX ON {_PARTED} (event, at);
CREATE INDEX ON {_PARTED} (recorded_at, id);
"""
_MONTH: Final = """
CREATE TABLE {table}_{month} PARTITION OF {table}
    FOR VALUES FROM (timestamptz '2026-01-01' + interval '30 days' * {month})
                 TO (timestamptz '2026-01-01' + interval '30 days' * ({month} + 1))
"""
_INSERT: Final = f"""
INSERT INTO {{table}} ({_COLUMNS})
VALUES (gen_random_uuid(), timestamptz '2026-01-01' + interval '30 days' * {_MONTHS - 0.5},
        'session.created', %s, gen_random_uuid(), '{APPID}', '10.0.0.7', '{USER_AGENT}',
        gen_random_uuid()::text, now())
"""
_SEARCH: Final = "SELECT * FROM {table} WHERE user_id = %s ORDER BY at DESC, id DESC LIMIT 20"
_BY_ID: Final = "SELECT at FROM {table} WHERE id = %s"
_DELETE: Final = f"""
WITH found AS (
    SELECT at, id FROM {_PLAIN} WHERE at < timestamptz '2026-01-31' AND (at, id) > (%s, %s)
    ORDER BY at, id LIMIT {_BATCH} FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM {_PLAIN} WHERE id = ANY (ARRAY(SELECT id FROM found)))
SELECT at, id FROM found ORDER BY at DESC, id DESC LIMIT 1
"""

_HOW: Final = (
    "{months} months of {count:,} events each. A purge of one table deletes the oldest month in"
    " batches, as ours does, and vacuums; one of partitions drops the oldest. The WAL has no whole"
    " pages. A user's newest events are searched for as `users show` does, and an event by its id"
    " as everything does that goes on after one."
)


@dataclass(frozen=True)
class _Cost:
    """What something took for each of its rows."""

    wal: float
    cpu: float
    seconds: float
    """In all."""


def measure(bench: Bench) -> Outcome:
    """Fill both, write into both, search both, and purge both."""
    postgres, count = bench.postgres, bench.scale.population.users // 10
    postgres.create_database(_NAME)
    migrate(postgres.url(_NAME))
    postgres.run(_NAME, *filter(str.strip, _MAKE.split(";")))
    for month in range(_MONTHS):
        postgres.run(_NAME, _MONTH.format(table=_PARTED, month=month))
    for table in (_PLAIN, _PARTED):
        for month in range(_MONTHS):
            values = {"columns": _COLUMNS, "users": _USERS, "appid": APPID, "months": month}
            values |= {"user_agent": USER_AGENT, "count": count, "table": table}
            postgres.run(_NAME, _FILL.format_map(values))
    postgres.vacuum(_NAME)
    costs = {table: _of_table(postgres, table, count // 10) for table in (_PLAIN, _PARTED)}
    with psycopg.connect(postgres.plain_url(_NAME), autocommit=True) as connection:
        purged = _cost(postgres, count, lambda: _purge(connection))
        vacuumed = _cost(postgres, count, lambda: connection.execute(f"VACUUM {_PLAIN}".encode()))
        dropped = _cost(
            postgres, count, lambda: connection.execute(f"DROP TABLE {_PARTED}_0".encode())
        )
    postgres.drop_database(_NAME)
    (written, found, by_id), (written_p, found_p, by_id_p) = costs[_PLAIN], costs[_PARTED]
    rows = [
        ("bytes of WAL, an event written", f"{written.wal:,.0f}", f"{written_p.wal:,.0f}"),
        ("PostgreSQL CPU µs, an event written", f"{written.cpu:.0f}", f"{written_p.cpu:.0f}"),
        (
            "bytes of WAL, an event purged",
            f"{purged.wal + vacuumed.wal:,.0f}",
            f"{dropped.wal:,.1f}",
        ),
        (
            "PostgreSQL CPU µs, an event purged",
            f"{purged.cpu + vacuumed.cpu:.1f}",
            f"{dropped.cpu:.1f}",
        ),
        (
            "seconds, a month purged",
            f"{purged.seconds + vacuumed.seconds:.2f}",
            f"{dropped.seconds:.2f}",
        ),
        ("PostgreSQL CPU µs, the newest 20 of a user", f"{found.cpu:.0f}", f"{found_p.cpu:.0f}"),
        ("PostgreSQL CPU µs, one by its id", f"{by_id.cpu:.0f}", f"{by_id_p.cpu:.0f}"),
    ]
    head = ("", "one table", "a partition for each month")
    return Outcome([Table(head, rows)], notes=[_HOW.format(months=_MONTHS, count=count)])


def _of_table(postgres: Postgres, table: str, asked: int) -> Sequence[_Cost]:
    """Return what an event written, a search and a look by id take, each `asked` times."""
    with psycopg.connect(postgres.plain_url(_NAME), autocommit=True) as connection:
        query = f"SELECT id, user_id FROM {table} ORDER BY random() LIMIT {asked}"
        some = connection.execute(query.encode()).fetchall()

        def each(statement: str, column: int) -> Callable[[], None]:
            text = statement.format(table=table).encode()

            def run() -> None:
                for _ in range(asked):
                    value = random.choice(some)[column]
                    connection.execute(text, (value,), prepare=True)

            return run

        return [
            _cost(postgres, asked, each(statement, column))
            for statement, column in ((_INSERT, 1), (_SEARCH, 1), (_BY_ID, 0))
        ]


def _cost(postgres: Postgres, count: int, run: Callable[[], Any]) -> _Cost:
    place, began = postgres.scalar(_NAME, _PLACE), cpu_seconds(postgres.pid)[0]
    begun = time.monotonic()
    run()
    seconds = time.monotonic() - begun
    cpu = 1e6 * (cpu_seconds(postgres.pid)[0] - began) / count
    return _Cost((postgres.scalar(_NAME, _PLACE) - place) / count, cpu, seconds)


def _purge(connection: "psycopg.Connection[Any]") -> None:
    after: Any = ("2020-01-01", "00000000-0000-0000-0000-000000000000")
    while after is not None:
        after = connection.execute(_DELETE.encode(), after).fetchone()
