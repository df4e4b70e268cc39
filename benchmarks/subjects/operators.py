"""The commands of an operator among a million users: how long they take, and what they read."""

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final

import psycopg
from flask import Flask

from benchmarks.bench import Bench
from benchmarks.database import Postgres
from benchmarks.outcome import Figure, Outcome, Table
from benchmarks.population import KEYS, Known, Population, populate
from tests.support.plans import plans
from tests.support.settings import settings_for
from wxsession import create_app
from wxsession.services import EXTENSION, Services

_NAME: Final = "operators"
_LARGE: Final = "users|identities|session_keys|sessions|events"
_SCAN: Final = re.compile(rf"Seq Scan on wxsession_({_LARGE})\b")
_LOOK_EVERY: Final = 0.01
_MOST_SECONDS: Final = 1.0

_HOW = (
    "Seconds from the parsed command line to its output, a new connection included, without the"
    " start of Python: the shortest of {starts} runs. A job may take as long as its rows do: what"
    " counts is its rate, and how long its longest transaction kept anything locked. A plan that"
    " scans is one that reads one of the large tables from end to end."
)


@dataclass(frozen=True)
class _Command:
    """A command line."""

    args: Sequence[str]
    is_job: bool = False
    rows: int | None = None
    """How many it deals with, if it does not say so."""

    def __str__(self) -> str:
        shown = ("ID" if len(arg) > 30 and "-" in arg else arg for arg in self.args)
        return f"`{' '.join(shown)}`"


@dataclass
class _Seen:
    """What a command took."""

    seconds: float = 0.0
    transaction: float = 0.0
    """The longest, in seconds."""
    scans: int = 0
    rows: int = 0


def measure(bench: Bench) -> Outcome:
    """Ask whatever an operator may ask, and then run the jobs."""
    # Without a replica, and with few segments of WAL: all of it lies in memory.
    own = {"wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "1GB"}
    population = bench.scale.population
    with Postgres(settings=own) as postgres:
        begun = time.monotonic()
        known = populate(postgres, _NAME, population)
        bench.say(f"  filled in {time.monotonic() - begun:.0f} s")
        app = create_app(settings_for(postgres.url(_NAME), secret_keys=KEYS))
        services: Services = app.extensions[EXTENSION]
        found: dict[_Command, _Seen] = {}
        with closing(services.database):
            for command in _commands(known, population):
                seen = found[command] = _look(postgres, app, services, command)
                for _ in range(0 if command.is_job else bench.scale.starts):
                    services.database.close()
                    seen.seconds = min(seen.seconds, _invoke(app, command)[0])
                bench.say(f"  {command}: {seen}")
    questions = {c: s for c, s in found.items() if not c.is_job}
    jobs = {c: s for c, s in found.items() if c.is_job}
    return Outcome(
        [_of_questions(questions), _of_jobs(jobs)],
        [
            Figure(
                "a question of an operator, the slowest",
                _MOST_SECONDS,
                max(seen.seconds for seen in questions.values()),
                unit="s",
                at_most=True,
            ),
            Figure(
                "a job of an operator, the longest transaction",
                _MOST_SECONDS,
                max(seen.transaction for seen in jobs.values()),
                unit="s",
                at_most=True,
            ),
            Figure(
                "commands of an operator, plans that scan a large table",
                0,
                sum(seen.scans for seen in found.values()),
                unit="",
                at_most=True,
            ),
        ],
        [f"{population}.", _HOW.format(starts=bench.scale.starts)],
    )


def _commands(known: Known, population: Population) -> Iterator[_Command]:
    user, heavy = str(known.user), str(known.heavy_user)
    session, event = str(known.session), str(known.event)
    yield from (
        _Command(("users", "list")),
        _Command(("users", "list", "--after", user)),
        _Command(("users", "list", "--username", "user-500")),
        _Command(("users", "list", "--phone", "10000000077")),
        _Command(("users", "list", "--openid", f"o{7:027d}")),
        _Command(("users", "list", "--openid", "nosuch")),
        _Command(("users", "list", "--unionid", f"u{7:027d}")),
        _Command(("users", "list", "--nickname", "name-77")),
        _Command(("users", "list", "--nickname", "nobody")),
        _Command(("users", "list", "--address", "10.0.0.7")),
        _Command(("users", "list", "--address", "10.99.99.99")),
        _Command(("users", "list", "--disabled")),
        _Command(("users", "show", user)),
        _Command(("users", "show", heavy)),
        _Command(("users", "merges")),
        _Command(("audit", "list")),
        _Command(("audit", "list", "--after", event)),
        _Command(("audit", "list", "--user", user)),
        _Command(("audit", "list", "--user", heavy)),
        _Command(("audit", "list", "--event", "user.disabled")),
        _Command(("audit", "list", "--event", "session.created")),
        _Command(("audit", "list", "--event", "nosuch")),
        _Command(("audit", "list", "--address", "10.0.0.7")),
        _Command(("audit", "list", "--address", "10.99.99.99")),
        _Command(("audit", "list", "--user", heavy, "--event", "user.disabled")),
        _Command(("audit", "list", "--user", heavy, "--address", "10.0.0.7")),
        _Command(("audit", "list", "--address", "10.99.99.99", "--event", "user.disabled")),
        _Command(("audit", "list", "--until", "2020-01-01")),
        _Command(("sessions", "list")),
        _Command(("sessions", "list", "--all")),
        _Command(("sessions", "list", "--after", session)),
        _Command(("sessions", "list", "--user", user)),
        _Command(("sessions", "list", "--user", heavy)),
        _Command(("sessions", "show", session)),
        _Command(("doctor",)),
        _Command(("purge-sessions", "--dry-run")),
        _Command(("keys", "status"), is_job=True, rows=population.users + population.sealed),
        _Command(("keys", "reseal"), is_job=True),
        _Command(("purge-sessions",), is_job=True),
        _Command(("users", "disable", heavy), is_job=True),
        _Command(("users", "delete", heavy, "--yes"), is_job=True, rows=2 * population.heavy),
    )


def _look(postgres: Postgres, app: Flask, services: Services, command: _Command) -> _Seen:
    """Run a command, and look at its plans and its transactions."""
    seen = _Seen()
    with plans(services.database) as collected, _watching(postgres, seen):
        seen.seconds, output = _invoke(app, command)
    seen.scans = sum(bool(_SCAN.search(line)) for line in collected)
    if command.is_job:
        seen.rows = command.rows or int(re.findall(r"\b\d+\b", output)[0])
    return seen


def _invoke(app: Flask, command: _Command) -> tuple[float, str]:
    begun = time.monotonic()
    result = app.test_cli_runner().invoke(args=command.args)
    seconds = time.monotonic() - begun
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return seconds, result.output


@contextmanager
def _watching(postgres: Postgres, seen: _Seen) -> Iterator[None]:
    """Note how long the longest transaction of the database was open meanwhile."""
    ended = threading.Event()

    def watch() -> None:
        query = (
            "SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8"
            " FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        )
        url = postgres.plain_url("postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            while not ended.wait(_LOOK_EVERY):
                row = connection.execute(query, (_NAME,)).fetchone()
                seen.transaction = max(seen.transaction, row[0] if row else 0.0)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _of_questions(found: Mapping[_Command, _Seen]) -> Table:
    rows = [(str(c), f"{seen.seconds:.3f}", str(seen.scans)) for c, seen in found.items()]
    return Table(("question", "seconds", "plans that scan"), rows)


def _of_jobs(found: Mapping[_Command, _Seen]) -> Table:
    rows = [
        (
            str(command),
            f"{seen.rows:,}",
            f"{seen.seconds:.1f}",
            f"{seen.rows / seen.seconds:,.0f}",
            f"{seen.transaction:.2f}",
            str(seen.scans),
        )
        for command, seen in found.items()
    ]
    head = ("job", "rows", "seconds", "rows/s", "longest transaction, s", "plans that scan")
    return Table(head, rows)
