"""How tables grow under autovacuum: fortnights of sessions that begin, are used, end and go."""

import random
import time
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from benchmarks.bench import Bench
from benchmarks.database import Postgres
from benchmarks.filling import migrate
from benchmarks.outcome import Outcome, Table
from benchmarks.population import USER_AGENT

_NAME: Final = "vacuum"
_DAYS: Final = 30
_USED: Final = 7
_KEPT: Final = 14
"""A session is used every day for so many days, and gone after so many."""
_CHUNK: Final = 200
_WAIT: Final = 1.5
"""Seconds that autovacuum has each day; it looks every second."""

_SETTINGS: Final = {
    "as it is": "autovacuum_enabled = on",
    "vacuumed at 2 % dead": (
        "autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02"
    ),
    "fillfactor 90": "fillfactor = 90",
    "both": (
        "autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02,"
        " fillfactor = 90"
    ),
}
_INSERT: Final = f"""
INSERT INTO {{table}} (id, user_id, identity_id, token_hash, created_at, auth_time,
                       absolute_expires_at, idle_expires_at, purge_on, client_address, user_agent)
SELECT (lpad(to_hex({{day}}), 12, '0') || '7c008' || lpad(to_hex(i), 15, '0'))::uuid,
       gen_random_uuid(), gen_random_uuid(), sha256(i::text::bytea), now(), now(),
       now(), now(), date '2026-01-01' + {{day}}, '203.0.113.9', '{USER_AGENT}'
FROM generate_series(1, {{count}}) AS i
"""
_LIVE: Final = "SELECT id FROM {table} WHERE purge_on >= date '2026-01-01' + {day} - 1"
_USE: Final = """
UPDATE {table} SET purge_on = date '2026-01-01' + {day}, idle_expires_at = now()
WHERE id = ANY (%s)
"""
_REFRESH: Final = """
UPDATE {table} SET token_hash = sha256(token_hash), rotated_at = now() WHERE id = ANY (%s)
"""
_END: Final = "date '2026-01-01' + {day} - {kept}"
_PURGE: Final = f"DELETE FROM {{table}} WHERE purge_on < {_END}"
_SIZES: Final = """
SELECT pg_relation_size(s.relid), pg_indexes_size(s.relid), n_dead_tup, autovacuum_count,
       n_tup_hot_upd::float8 / greatest(1, n_tup_upd), (SELECT count(*) FROM {table})
FROM pg_stat_user_tables AS s WHERE relname = '{table}'
"""

_HOW: Final = (
    "{days} days, on each of which {count:,} sessions begin, each of the last {used} days is"
    " used (which moves its day in the index of the purge) and refreshed twice, one after the other"
    " at random, and what is {kept} days old is purged. Autovacuum looks every second, and a day"
    " takes it some: so what differs is when it finds that there is enough to do."
)


@dataclass
class _Grown:
    """What became of a table."""

    heap: int = 0
    indexes: int = 0
    dead: int = 0
    """The most dead rows at the end of a day, by the statistics."""
    vacuums: int = 0
    hot: float = 0.0
    rows: int = 0


def measure(bench: Bench) -> Outcome:
    """Let tables with different settings live through the same days."""
    count = max(20, bench.scale.population.users // 500)
    days = _DAYS if bench.scale.population.users > 10_000 else _KEPT + 2
    on = {"autovacuum": "on", "autovacuum_naptime": "1s", "autovacuum_vacuum_cost_delay": "0"}
    with Postgres(settings=on) as postgres:
        postgres.create_database(_NAME)
        migrate(postgres.url(_NAME))
        tables = {f"sessions_{number}": name for number, name in enumerate(_SETTINGS)}
        for table, name in tables.items():
            like = f"CREATE TABLE {table} (LIKE wxsession_sessions INCLUDING ALL)"
            postgres.run(_NAME, like, f"ALTER TABLE {table} SET ({_SETTINGS[name]})")
        grown = {table: _Grown() for table in tables}
        with psycopg.connect(postgres.plain_url(_NAME), autocommit=True) as connection:
            for day in range(days):
                for table in tables:
                    _live_through(connection, table, day, count)
                time.sleep(_WAIT if days == _DAYS else 0)
                for table, one in grown.items():
                    _look(connection, table, one)
                bench.say(f"  day {day}: {grown}")
    rows = [
        (
            tables[table],
            f"{one.rows:,}",
            f"{one.heap / max(1, one.rows):.0f}",
            f"{one.indexes / max(1, one.rows):.0f}",
            f"{one.dead / max(1, one.rows):.0%}",
            f"{one.vacuums}",
            f"{one.hot:.0%}",
        )
        for table, one in grown.items()
    ]
    head = ("", "rows", "bytes a row", "in indexes", "most dead", "vacuums", "HOT of updates")
    how = _HOW.format(days=days, count=count, used=_USED, kept=_KEPT)
    return Outcome([Table(head, rows)], notes=[how])


def _live_through(connection: "psycopg.Connection[Any]", table: str, day: int, count: int) -> None:
    connection.execute(_INSERT.format(table=table, day=day, count=count).encode())
    live = [row[0] for row in connection.execute(_LIVE.format(table=table, day=day).encode())]
    # A session ends when it is a week old: the ids say on which day it began.
    used = [id_ for id_ in live if int(id_.hex[:12], 16) > day - _USED]
    for statement in (_USE, _REFRESH, _REFRESH):
        random.shuffle(used)
        text = statement.format(table=table, day=day).encode()
        for first in range(0, len(used), _CHUNK):
            connection.execute(text, (used[first : first + _CHUNK],))
    connection.execute(_PURGE.format(table=table, day=day, kept=_KEPT - _USED).encode())


def _look(connection: "psycopg.Connection[Any]", table: str, grown: _Grown) -> None:
    connection.execute(b"SELECT pg_stat_force_next_flush()")
    row = connection.execute(_SIZES.format(table=table).encode()).fetchone()
    if row is not None:
        grown.heap, grown.indexes, dead, grown.vacuums, grown.hot, grown.rows = row
        grown.dead = max(grown.dead, dead)
