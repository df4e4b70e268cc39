"""Databases that misbehave, under a real server: frozen, vanished, locked, pooled, short of places.

Whatever became of the database, a request is answered within WXSESSION_DATABASE_TIMEOUT and a
second; the rest of what is waited for here is the patience with a busy machine.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import NamedTuple

import psycopg
import pytest
import requests
from sqlalchemy import text

from tests.support.network import Namespace
from tests.support.pgbouncer import KNOWS_STATEMENTS, PgBouncer, version
from tests.support.postgres import PostgresServer
from tests.support.service import (
    ROOT,
    Service,
    Simulator,
    code_of,
    plain_environment,
    token_of,
)
from tests.support.settings import environment
from tests.support.waiting import eventually
from wxsession.errors import DatabaseUnavailable
from wxsession.storage.database import connect
from wxsession.storage.migrate import upgrade
from wxsession.storage.postgresql import CONNECT_SECONDS

MakeService = Callable[..., Service]

TIMEOUT = 3
MACHINE = 8.0
"""Seconds that a busy machine may add."""


class Answer(NamedTuple):
    """What came, and how long it took."""

    response: requests.Response
    seconds: float

    @property
    def code(self) -> str | None:
        """The code of the problem, None for a success."""
        return code_of(self.response)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Return as many threads as a test may want."""
    with ThreadPoolExecutor(150) as threads:
        yield threads


@pytest.fixture
def serve(simulator: Simulator) -> Iterator[MakeService]:
    """Return a function that starts a server with these settings."""
    with ExitStack() as stack:

        def start(database_url: str, **settings: object) -> Service:
            wanted = {"wechat_url": simulator.url, "database_timeout": f"{TIMEOUT}s", **settings}
            return stack.enter_context(Service(database_url, **wanted))  # type: ignore[arg-type]

        yield start


def migrate(server: PostgresServer) -> None:
    server.create_database("own")
    database = connect(server.url("own"))
    upgrade(database)
    database.close()


def timed(send: Callable[..., requests.Response], *arguments: str) -> Answer:
    begun = time.monotonic()
    response = send(*arguments)
    return Answer(response, time.monotonic() - begun)


def everything_at_once(
    service: Service, simulator: Simulator, token: str, pool: ThreadPoolExecutor
) -> list[Future[Answer]]:
    """Send what clients send, of each kind several."""
    codes = [simulator.code(f"user-{number}") for number in range(40)]
    sent = [pool.submit(timed, service.check, token) for _ in range(40)]
    sent += [pool.submit(timed, service.refresh, token) for _ in range(10)]
    return sent + [pool.submit(timed, service.log_in, code) for code in codes]


def assert_alive(service: Service) -> None:
    """See liveness told without a wait, again and again."""
    answers = []
    for _ in range(5):
        answers.append(timed(service.send, "GET", "/healthz"))
        time.sleep(0.1)
    assert all(answer.response.ok for answer in answers)
    assert median(answer.seconds for answer in answers) < 1


def assert_told_in_time(answers: list[Answer]) -> None:
    assert {answer.code for answer in answers} <= {"database_unavailable", "overloaded"}
    assert "database_unavailable" in {answer.code for answer in answers}
    assert {answer.response.status_code for answer in answers} == {503}
    assert all(int(answer.response.headers["Retry-After"]) > 0 for answer in answers)
    assert median(answer.seconds for answer in answers) < TIMEOUT + 2
    assert max(answer.seconds for answer in answers) < TIMEOUT + 1 + MACHINE


def states(server: PostgresServer) -> list[str]:
    """Return the state of each connection that services have there."""
    address = f"host={server.host} port={server.port} user=postgres dbname=own"
    with psycopg.connect(address, autocommit=True) as connection:
        query = "SELECT state FROM pg_stat_activity WHERE application_name = 'wxsession'"
        return [state for (state,) in connection.execute(query)]


def active(server: PostgresServer) -> list[str]:
    """Return those that are at work, or wait."""
    return [state for state in states(server) if state == "active"]


def test_a_frozen_server_is_not_waited_for_and_is_used_again_when_it_thaws(
    serve: MakeService, simulator: Simulator, own_postgres: PostgresServer, pool: ThreadPoolExecutor
) -> None:
    service = serve(own_postgres.url("own"))
    token = token_of(service.log_in(simulator.code("alice")))
    list(pool.map(service.check, [token] * 60))
    own_postgres.freeze()
    try:
        sent = everything_at_once(service, simulator, token, pool)
        assert_alive(service)
        assert_told_in_time([future.result() for future in sent])
    finally:
        own_postgres.thaw()
    eventually(lambda: service.check(token).ok, seconds=2 + MACHINE)
    eventually(lambda: all(answer.ok for answer in pool.map(service.check, [token] * 60)))
    eventually(lambda: not active(own_postgres))
    assert len(states(own_postgres)) <= 2 * 16


def test_a_server_that_is_told_to_stop_does_not_wait_for_a_frozen_database(
    serve: MakeService, simulator: Simulator, own_postgres: PostgresServer, pool: ThreadPoolExecutor
) -> None:
    service = serve(own_postgres.url("own"))
    token = token_of(service.log_in(simulator.code("alice")))
    own_postgres.freeze()
    try:
        sent = [pool.submit(timed, service.check, token) for _ in range(8)]
        time.sleep(0.5)
        begun = time.monotonic()
        service.send_signal(signal.SIGTERM)
        assert service.wait() == 0
        assert time.monotonic() - begun < TIMEOUT + 1 + MACHINE
        assert {future.result().response.status_code for future in sent} == {503}
    finally:
        own_postgres.thaw()


def test_a_host_that_vanishes_is_not_waited_for_and_is_used_again_when_it_is_back(
    serve: MakeService, simulator: Simulator, pool: ThreadPoolExecutor
) -> None:
    with Namespace() as host, PostgresServer(namespace=host) as server:
        migrate(server)
        service = serve(server.url("own"))
        token = token_of(service.log_in(simulator.code("alice")))
        list(pool.map(service.check, [token] * 60))
        host.vanish()
        try:
            sent = everything_at_once(service, simulator, token, pool)
            assert_alive(service)
            assert_told_in_time([future.result() for future in sent])
        finally:
            host.come_back()
        eventually(lambda: service.check(token).ok, seconds=2 + MACHINE)
        assert service.check(token_of(service.refresh(token))).ok


def test_only_the_first_connection_waits_for_a_host_that_vanished_before_the_right_one(
    own_postgres: PostgresServer,
) -> None:
    with Namespace() as gone:
        gone.vanish()
        hosts = f"host={gone.address}:5432&host=127.0.0.1:{own_postgres.port}"
        database = connect(f"postgresql+psycopg://postgres@/own?{hosts}")
        with database.statement() as first:
            begun = time.monotonic()
            with database.statement() as second:
                assert time.monotonic() - begun < CONNECT_SECONDS
                assert first.connection.dbapi_connection is not second.connection.dbapi_connection
        database.close()


@contextmanager
def locked(server: PostgresServer, table: str) -> Iterator[None]:
    """Keep everybody from a table, as VACUUM FULL does."""
    address = f"host={server.host} port={server.port} user=postgres dbname=own"
    with psycopg.connect(address) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield


def test_a_locked_table_is_not_waited_for_and_leaves_nobody_waiting(
    serve: MakeService, simulator: Simulator, own_postgres: PostgresServer, pool: ThreadPoolExecutor
) -> None:
    service = serve(own_postgres.url("own"))
    token = token_of(service.log_in(simulator.code("alice")))
    with locked(own_postgres, "wxsession_sessions"):
        sent = everything_at_once(service, simulator, token, pool)
        assert_alive(service)
        assert_told_in_time([future.result() for future in sent])
        eventually(lambda: not active(own_postgres))
    eventually(lambda: service.check(token).ok, seconds=2 + MACHINE)


def test_a_failing_database_is_one_warning_in_ten_seconds_with_a_count(
    serve: MakeService, simulator: Simulator, own_postgres: PostgresServer, pool: ThreadPoolExecutor
) -> None:
    service = serve(own_postgres.url("own"))
    token = token_of(service.log_in(simulator.code("alice")))
    own_postgres.kill()
    answers = list(pool.map(service.check, [token] * 300))
    assert {code_of(answer) for answer in answers} == {"database_unavailable"}
    lines = [line for line in service.lines() if "database_unavailable" in line]
    assert 1 <= len(lines) <= 2 * 3  # each worker; a slow machine may take twenty seconds


def test_a_role_that_may_open_few_connections_is_enough_for_two_workers(
    serve: MakeService, simulator: Simulator, own_postgres: PostgresServer, pool: ThreadPoolExecutor
) -> None:
    address = f"host=127.0.0.1 port={own_postgres.port} user=postgres dbname=own"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 6")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO few")
    service = serve(own_postgres.url("own").replace("postgres@", "few@"))
    eventually(lambda: len(service.workers()) == 2)
    tokens = [
        token_of(answer)
        for answer in pool.map(service.log_in, [simulator.code(f"user-{n}") for n in range(24)])
    ]
    for _ in range(10):
        assert {answer.status_code for answer in pool.map(service.check, tokens)} == {200}
        tokens = [token_of(answer) for answer in pool.map(service.refresh, tokens)]
    eventually(lambda: len(states(own_postgres)) <= 2)  # nobody keeps what others need
    for _ in range(20):
        assert service.check(tokens[0]).ok


@pytest.fixture(params=[False, True], ids=["knows no statements", "knows statements"])
def pooler(request: pytest.FixtureRequest, own_postgres: PostgresServer) -> Iterator[PgBouncer]:
    """Return a pooler in transaction mode; each test runs with both kinds."""
    if request.param and version() < KNOWS_STATEMENTS:
        pytest.skip("this PgBouncer is older than 1.21, which is the first that knows statements")
    with PgBouncer(own_postgres, prepares=request.param) as running:
        yield running


@pytest.mark.parametrize("setting", ["on", "off"])
@pytest.mark.parametrize("lives", [40, pytest.param(400, marks=pytest.mark.long)])
def test_behind_a_pooler_in_transaction_mode_everything_works(
    serve: MakeService, simulator: Simulator, pooler: PgBouncer, setting: str, lives: int
) -> None:
    service = serve(pooler.database_url("own"), prepared_statements=setting)

    def live(number: int) -> set[int]:
        """Log in, check, check, refresh, check."""
        token = token_of(service.log_in(simulator.code(f"user-{number}")))
        seen = {service.check(token).status_code, service.check(token).status_code}
        token = token_of(service.refresh(token))
        return seen | {service.check(token).status_code}

    with ThreadPoolExecutor(12) as clients:
        statuses = set().union(*clients.map(live, range(lives)))
    assert statuses == {200}
    warned = "does not support prepared statements" in "".join(service.lines())
    assert warned == (setting == "on" and not pooler.prepares)


@pytest.mark.long
def test_behind_a_pooler_no_purge_finds_another_one_that_is_none(
    serve: MakeService, simulator: Simulator, pooler: PgBouncer
) -> None:
    service = serve(pooler.database_url("own"))
    done = threading.Event()

    def live(number: int) -> None:
        token = token_of(service.log_in(simulator.code(f"user-{number}")))
        while not done.is_set():
            assert service.check(token).ok

    with ThreadPoolExecutor(4) as clients:
        living = [clients.submit(live, number) for number in range(4)]
        settings = environment(pooler.database_url("own"))
        purges = [command(settings, "purge-sessions") for _ in range(6)]
        done.set()
        for each in living:
            each.result()
    assert [purge.returncode for purge in purges] == [0] * 6


def command(settings: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Return what a command says, with these settings."""
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", *words],
        cwd=ROOT,
        env=plain_environment() | dict(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def promote(server: PostgresServer) -> None:
    """Let a server begin a new timeline, as a standby that is promoted does."""
    server.kill()
    server.follow_nobody()
    with server.connect() as connection:
        connection.execute("SELECT pg_promote()")


def test_a_primary_that_another_one_has_replaced_is_not_used() -> None:
    with PostgresServer() as former, PostgresServer() as promoted:
        promote(promoted)
        hosts = "&".join(f"host=127.0.0.1:{server.port}" for server in (former, promoted))
        url = f"postgresql+psycopg://postgres@/postgres?{hosts}&target_session_attrs=read-write"
        database = connect(url)
        port = text("SELECT inet_server_port()")

        def asked() -> int:
            with database.statement() as connection:
                return int(connection.execute(port).scalar_one())

        assert asked() == former.port
        former.kill()
        eventually(lambda: not fails(asked))
        assert asked() == promoted.port
        promoted.kill()
        former.restart()
        for _ in range(3):
            assert fails(asked)
        promoted.restart()
        eventually(lambda: not fails(asked))
        assert asked() == promoted.port
        database.close()


def fails(action: Callable[[], object]) -> bool:
    try:
        action()
    except DatabaseUnavailable:
        return True
    return False
