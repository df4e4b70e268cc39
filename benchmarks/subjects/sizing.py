"""What each request writes and takes: the figures from which a deployment is sized."""

import re
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

from benchmarks import filling
from benchmarks.bench import Bench
from benchmarks.database import Postgres
from benchmarks.load import Request, Work, ask
from benchmarks.outcome import Outcome, Table
from benchmarks.population import USER_AGENT, Population, is_disabled, populate, present
from benchmarks.processes import cpu_seconds
from benchmarks.purging import finish_purge, start_purge
from benchmarks.rounds import RequestsFailed
from benchmarks.servers import Ours
from benchmarks.wechat import WeChat, logins_of_each
from tests.support.settings import APPID, settings_for
from wxsession import create_app
from wxsession.services import EXTENSION, Services
from wxsession.storage.database import new_id
from wxsession.users.client import ClientInfo

_NAME: Final = "sizing"
_MOST: Final = 2_000
_CONNECTIONS: Final = 8
_REFUSED: Final = 400
_SETTLED: Final = 0.1
_PLACE: Final = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
_ROOM: Final = """
SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
WHERE relkind = 'r' AND relname LIKE 'wxsession_%'
"""
_COUNT: Final = """
SELECT (SELECT count(*) FROM wxsession_sessions) + (SELECT count(*) FROM wxsession_events)
"""
_ROWS: Final = """
SELECT json_object_agg(relname, json_build_array(reltuples, pg_relation_size(oid),
                                                 pg_indexes_size(oid)))
FROM pg_class WHERE relname IN ('wxsession_users', 'wxsession_identities', 'wxsession_sessions',
                                'wxsession_session_keys', 'wxsession_events')
"""

_HOW = (
    "WAL is counted with `full_page_writes` off, which says what the changes themselves take; then"
    " on, right after a checkpoint, when nearly every request is the first to change its pages and"
    " these are written whole, as they are, and with `wal_compression`. In life it lies between the"
    " first and the last two: near the first if the same pages are changed again and again until"
    " the next checkpoint, near the others if a table is much larger than what is changed until"
    " then. Room is what tables and indexes have grown by."
)
_PACKED = (
    "The rows as they are filled: packed. Indexes in random order (`user_id`, `client_address`) are"
    " about two thirds full in life."
)


@dataclass(frozen=True)
class _Cost:
    """What one request takes, in bytes and microseconds."""

    wal: float
    room: float
    app: float
    sql: float


def measure(bench: Bench) -> Outcome:
    """Send the same requests to a server that writes no whole pages, and to one that does."""
    scale = bench.scale.population
    population = Population(users=scale.users // 10, heavy=1, sealed=scale.sealed // 10)
    populate(bench.postgres, _NAME, population)
    rows: Mapping[str, tuple[float, int, int]] = bench.postgres.scalar(_NAME, _ROWS)
    plain = _costs(bench, population)
    with Postgres(settings={"full_page_writes": "on"}) as other:
        populate(other, _NAME, population)
        whole = _costs(replace(bench, postgres=other), population)
        other.run("postgres", f"ALTER DATABASE {_NAME} SET wal_compression = on")
        compressed = _costs(replace(bench, postgres=other), population, again=True)
    bench.postgres.drop_database(_NAME)
    head = (
        "",
        "bytes of WAL",
        "with whole pages",
        "compressed",
        "bytes of room",
        "app CPU µs",
        "PostgreSQL CPU µs",
    )
    costs = [
        (
            name,
            f"{cost.wal:,.0f}",
            f"{whole[name].wal:,.0f}",
            f"{compressed[name].wal:,.0f}" if name in compressed else "–",
            f"{cost.room:,.0f}",
            f"{cost.app:,.0f}",
            f"{cost.sql:,.0f}",
        )
        for name, cost in plain.items()
    ]
    return Outcome(
        [Table(head, costs), _of_rows(rows)],
        notes=[f"{population}.", _HOW, _PACKED],
    )


def _costs(bench: Bench, population: Population, *, again: bool = False) -> Mapping[str, _Cost]:
    """Return what everything takes; `again` there is nothing left to purge, and users are known."""
    postgres = bench.postgres
    url = postgres.url(_NAME)
    found: dict[str, _Cost] = {}
    if not again:
        found |= _of_purge(bench, url)
    tokens = present(url, 3 * min(bench.scale.prepared, _MOST))
    count = len(tokens) // 3
    # As it is in life: no page has room because of what was done to find tokens.
    postgres.run(_NAME, "VACUUM (FULL, ANALYZE) wxsession_sessions")
    strangers = population.users * (2 if again else 1)
    known = [number for number in range(count, 2 * count) if not is_disabled(number)]
    checks = _from_phones(filling.bearers(tokens[:count]))
    work = {
        "a check, the first in an hour": Work("GET", "/check_session", checks),
        "a check": Work("GET", "/check_session", checks),
        "a first login": _logins(range(strangers, strangers + count)),
        "a login of a known user": _logins(known),
        "a refresh": _posts("/refresh", tokens[count : 2 * count]),
        "a logout": _posts("/logout", tokens[2 * count :]),
    }
    with WeChat(delay=0) as wechat, Ours(url, threads=None, wechat_url=wechat.url) as server:
        # So that the key of each of these users is known, and the server is warm.
        _send(server.port, _logins(known))
        for name, one in work.items():
            found[name] = _cost_of(bench, server, one)
            bench.say(f"  {name}: {found[name]}")
    found["an event alone"] = _of_event(bench, url, count)
    return found


def _cost_of(bench: Bench, server: Ours, work: Work) -> _Cost:
    postgres, count = bench.postgres, len(work.requests)
    postgres.run(_NAME, "CHECKPOINT")
    place, room = postgres.scalar(_NAME, _PLACE), postgres.scalar(_NAME, _ROOM)
    began = cpu_seconds(server.pid, postgres.pid)
    _send(server.port, work)
    ended = cpu_seconds(server.pid, postgres.pid)
    app, sql = (1e6 * (b - a) / count for a, b in zip(began, ended, strict=True))
    wal = (postgres.scalar(_NAME, _PLACE) - place) / count
    return _Cost(wal, (postgres.scalar(_NAME, _ROOM) - room) / count, app, sql)


def _send(port: int, work: Work) -> None:
    """Send each request once: what is counted for each has to be of as many, however fast.

    Raises:
        RequestsFailed: one of them was refused.
    """
    messages = work.messages()

    def send(some: Sequence[bytes]) -> int:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            return sum(ask(connection, message)[0] >= _REFUSED for message in some)

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        failed = sum(pool.map(send, (messages[n::_CONNECTIONS] for n in range(_CONNECTIONS))))
    if failed:
        raise RequestsFailed(f"{work.path}: {failed} of {len(messages)} failed")
    time.sleep(_SETTLED)


def _of_purge(bench: Bench, url: str) -> dict[str, _Cost]:
    """Return what a purged row takes, and then the vacuum that follows, for each of them."""
    postgres = bench.postgres
    postgres.run(_NAME, "CHECKPOINT")
    place, began = postgres.scalar(_NAME, _PLACE), cpu_seconds(postgres.pid)[0]
    before = postgres.scalar(_NAME, _COUNT)
    purged = finish_purge(start_purge(url))
    gone = before - postgres.scalar(_NAME, _COUNT)
    middle, ended = postgres.scalar(_NAME, _PLACE), cpu_seconds(postgres.pid)[0]
    postgres.run(_NAME, "VACUUM wxsession_sessions, wxsession_events")
    after, vacuumed = postgres.scalar(_NAME, _PLACE), cpu_seconds(postgres.pid)[0]
    bench.say(f"  {gone:,} rows purged, {purged.per_second:,.0f} sessions/s")
    return {
        "a purged row": _Cost((middle - place) / gone, 0.0, 0.0, 1e6 * (ended - began) / gone),
        "its vacuum": _Cost((after - middle) / gone, 0.0, 0.0, 1e6 * (vacuumed - ended) / gone),
    }


def _of_event(bench: Bench, url: str, count: int) -> _Cost:
    """Return what an event takes, in a transaction of its own."""
    postgres = bench.postgres
    app = create_app(settings_for(url))
    services: Services = app.extensions[EXTENSION]
    client = ClientInfo("203.0.113.9", USER_AGENT)
    with closing(services.database) as database:
        postgres.run(_NAME, "CHECKPOINT")
        place, room = postgres.scalar(_NAME, _PLACE), postgres.scalar(_NAME, _ROOM)
        began = cpu_seconds(postgres.pid)[0]
        for _ in range(count):
            with database.transaction() as transaction:
                services.audit.write(
                    transaction,
                    "session.created",
                    client,
                    user_id=new_id(),
                    session_id=new_id(),
                    appid=APPID,
                )
        wal = (postgres.scalar(_NAME, _PLACE) - place) / count
        grown = (postgres.scalar(_NAME, _ROOM) - room) / count
    return _Cost(wal, grown, 0.0, 1e6 * (cpu_seconds(postgres.pid)[0] - began) / count)


def _of_rows(rows: Mapping[str, tuple[float, int, int]]) -> Table:
    shown = [
        (
            f"`{re.sub('^wxsession_', '', name)}`",
            f"{heap / max(1, count):.0f}",
            f"{indexes / max(1, count):.0f}",
            f"{(heap + indexes) / max(1, count):.0f}",
        )
        for name, (count, heap, indexes) in sorted(rows.items())
    ]
    return Table(("bytes a row", "table", "indexes", "both"), shown)


def _logins(users: Sequence[int]) -> Work:
    return Work("POST", "/login", _from_phones(logins_of_each(users)))


def _posts(path: str, tokens: list[str]) -> Work:
    return Work("POST", path, _from_phones(filling.bearers(tokens)))


def _from_phones(requests: list[Request]) -> list[Request]:
    return [replace(r, headers={**r.headers, "User-Agent": USER_AGENT}) for r in requests]
