"""What the database may do to us: be slow, be full, be gone, be demoted, be busy."""

import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Column, Integer, MetaData, Table, event, insert, select, text
from sqlalchemy.exc import StatementError
from sqlalchemy.pool import QueuePool

from tests.support.app import services_of
from tests.support.databases import ON_BOTH, ON_POSTGRESQL, ON_SQLITE
from tests.support.phone import Phone, problem
from tests.support.postgres import PostgresServer
from tests.support.settings import settings_for
from tests.support.threads import no_more_threads
from wxsession import create_app
from wxsession.common.logs import RareWarning
from wxsession.errors import NotReady, Overloaded
from wxsession.services import Services
from wxsession.simulator import SettableClock, WeChat, wechat_transport
from wxsession.storage.connection_cache import MAX_IDLE, ConnectionCache
from wxsession.storage.database import Limits, UtcDateTime, connect, metadata
from wxsession.storage.migrate import upgrade
from wxsession.storage.tables import sessions
from wxsession.storage.watchdog import TICK, Overdue, Unwatched, Watchdog

pytestmark = ON_BOTH


MOMENTS = Table("moments", MetaData(), Column("id", Integer), Column("at", UtcDateTime))


def test_a_moment_comes_back_in_utc_whatever_zone_it_went_in(database_url: str) -> None:
    database = connect(database_url)
    shanghai = timezone(timedelta(hours=8))
    moment = datetime(2026, 11, 21, 16, 30, 0, 123456, shanghai)
    with database.transaction() as connection:
        MOMENTS.create(connection.connection)
        connection.execute(insert(MOMENTS), [{"id": 1, "at": moment}, {"id": 2, "at": None}])
    with database.statement() as connection:
        found = connection.execute(select(MOMENTS.c.at).order_by(MOMENTS.c.id)).scalars().all()
    assert found == [moment, None]
    assert found[0].utcoffset() == timedelta(0)
    with pytest.raises(StatementError), database.transaction() as connection:
        connection.execute(insert(MOMENTS), [{"id": 3, "at": datetime(2026, 1, 1)}])  # noqa: DTZ001
    database.close()


def test_moments_sort_and_compare_as_moments(database_url: str) -> None:
    database = connect(database_url)
    start = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
    steps = [timedelta(microseconds=1), timedelta(seconds=1), timedelta(days=40)]
    with database.transaction() as connection:
        MOMENTS.create(connection.connection)
        rows = [{"id": n, "at": start + step} for n, step in enumerate(steps)]
        connection.execute(insert(MOMENTS), rows)
        later = select(MOMENTS.c.id).where(start + steps[0] < MOMENTS.c.at)
        assert set(connection.execute(later).scalars()) == {1, 2}
    database.close()


def test_a_transaction_that_fails_leaves_nothing(services: Services, phone: Phone) -> None:
    phone.log_in()
    with pytest.raises(ZeroDivisionError), services.database.transaction() as connection:
        connection.execute(sessions.delete())
        _ = 1 / 0
    assert phone.check().status_code == 200


def test_no_error_of_the_database_shows_a_value(services: Services) -> None:
    with (
        pytest.raises(NotReady) as caught,
        services.database.statement() as connection,
    ):
        connection.execute(text("SELECT * FROM nowhere WHERE x = :x"), {"x": "canary"})
    assert "canary" not in f"{caught.value} {caught.value!r} {caught.value.__cause__}"


def test_an_exhausted_pool_is_told_within_two_seconds_and_liveness_needs_none(
    app: Flask, phone: Phone
) -> None:
    phone.log_in()
    database = services_of(app).database
    database.connections.release()
    busy = [database.engine.connect() for _ in range(Limits().pool_size)]
    started = time.monotonic()
    answer = phone.check()
    assert problem(answer) == (503, "overloaded", None)
    assert answer.headers["Retry-After"]
    assert answer.json["retryable"] is True
    assert time.monotonic() - started < 20  # and not after the database's minute
    assert phone.send("GET", "/healthz").status_code == 200
    for connection in busy:
        connection.close()
    assert phone.check().status_code == 200


@ON_POSTGRESQL
def test_a_touch_that_fails_does_not_fail_the_check(phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    clock.advance(hours=2)
    database = services_of(phone.app).database
    with database.statement() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION USING ERRCODE = '57014'; END $$"
            )
        )
        connection.execute(
            text("CREATE TRIGGER t BEFORE UPDATE ON wxsession_sessions EXECUTE FUNCTION refuse()")
        )
    answer = phone.check()
    assert answer.status_code == 200
    assert answer.json["expires_in"] == (7 * 24 - 2) * 3600


@ON_POSTGRESQL
def test_a_demoted_primary_counts_as_a_broken_connection(services: Services) -> None:
    with pytest.raises(Overloaded), services.database.transaction() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        before = connection.connection.connection.dbapi_connection
        connection.execute(sessions.delete())
    with services.database.statement() as connection:
        assert connection.connection.dbapi_connection is not before


@ON_POSTGRESQL
@pytest.mark.parametrize(
    ("sqlstate", "code"),
    [
        ("53100", "database_unavailable"),  # disk full
        ("57014", "database_unavailable"),  # statement timeout
        ("55P03", "database_unavailable"),  # lock timeout
        ("42501", "database_unavailable"),  # the role may not
        ("40P01", "overloaded"),  # deadlock
        ("40001", "overloaded"),
    ],
)
def test_a_login_that_the_database_cannot_write_says_why(
    phone: Phone, services: Services, sqlstate: str, code: str
) -> None:
    with services.database.statement() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END $$"
            )
        )
        connection.execute(
            text("CREATE TRIGGER t BEFORE INSERT ON wxsession_sessions EXECUTE FUNCTION refuse()")
        )
    answer = phone.log_in()
    assert problem(answer) == (503, code, None)
    assert int(answer.headers["Retry-After"]) > 0


CALLS = [
    ("GET", "/check_session"),
    ("POST", "/refresh"),
    ("POST", "/logout"),
    ("GET", "/sessions"),
    ("GET", "/user"),
    ("PATCH", "/user"),
    ("GET", "/readyz"),
]


@pytest.mark.parametrize("lost", ["everything", "a column"])
def test_without_its_schema_every_call_says_so(phone: Phone, services: Services, lost: str) -> None:
    phone.log_in()
    with services.database.transaction() as connection:
        if lost == "everything":
            metadata.drop_all(connection.connection)
            connection.execute(text("DROP TABLE IF EXISTS wxsession_version"))
        else:
            connection.execute(
                text("ALTER TABLE wxsession_sessions RENAME COLUMN token_hash TO hash")
            )
            connection.execute(text("ALTER TABLE wxsession_users RENAME COLUMN nickname TO name"))
            connection.execute(text("UPDATE wxsession_version SET version_num = '20261121_01'"))
    told = {call: problem(phone.send(*call, token=phone.token, json={})) for call in CALLS}
    assert told == dict.fromkeys(CALLS, (503, "not_ready", None))
    assert problem(phone.log_in()) == (503, "not_ready", None)


@pytest.mark.parametrize("call", ["check", "refresh", "log_out", "log_in"])
def test_nobody_notices_that_postgresql_was_restarted(
    clock: SettableClock, wechat: WeChat, call: str
) -> None:
    with PostgresServer() as own:  # the shared one must go on
        settings = settings_for(own.url("postgres"))
        app = create_app(settings, clock=clock, http=wechat_transport(wechat))
        upgrade(services_of(app).database)
        phone = Phone(app, wechat, "alice")
        phone.log_in()
        own.kill()
        own.restart()
        assert getattr(phone, call)().status_code in {200, 204}  # over connections that are dead
        own.kill()
        assert problem(getattr(phone, call)()) == (503, "database_unavailable", None)
        assert problem(phone.send("GET", "/readyz")) == (503, "database_unavailable", None)
        own.restart()
        assert phone.send("GET", "/readyz").status_code == 200
        services_of(app).database.close()


@ON_SQLITE
def test_fifty_writers_of_one_sqlite_file_wait_for_one_another(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    servers = [make_app(touch_interval="0") for _ in range(4)]
    failed: list[str] = []

    def write(number: int) -> None:
        phone = Phone(servers[number % 4], wechat, f"user {number}")
        for _ in range(5):
            answers = [phone.log_in(), phone.check(), phone.refresh(), phone.check()]
            answers.append(phone.log_out())
            failed.extend(a.text for a in answers if a.status_code not in {200, 204})

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(write, range(50)))
    assert failed == []


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a file has no mode")
def test_a_new_sqlite_file_and_what_lies_beside_it_are_for_our_account_alone(
    tmp_path: Path,
) -> None:
    database = connect(f"sqlite:///{tmp_path}/new/wxsession.db")
    upgrade(database)
    with database.transaction() as connection:
        connection.execute(text("SELECT 1"))
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()}
    database.close()
    assert modes == {f"wxsession.db{suffix}": 0o600 for suffix in ("", "-shm", "-wal")}


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a file has no mode")
@pytest.mark.parametrize(("mode", "warnings"), [(0o644, 1), (0o640, 0), (0o600, 0)])
def test_a_file_that_was_there_keeps_its_mode_and_is_warned_of_if_everybody_may_read_it(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warnings: int
) -> None:
    path = tmp_path / "wxsession.db"
    path.chmod(mode)
    database = connect(sqlite_url)
    with database.statement() as connection:
        connection.execute(text("SELECT 1"))
    database.close()
    assert path.stat().st_mode & 0o777 == mode
    told = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert told == [f"every user of this machine can read {path}; run chmod o-r on it"] * warnings


def test_a_check_keeps_its_connection_for_the_next_one(services: Services, phone: Phone) -> None:
    phone.log_in()
    services.database.connections.release()
    checked_out: list[object] = []
    pool = services.database.engine.pool
    event.listen(pool, "checkout", lambda connection, *_: checked_out.append(connection))
    for _ in range(3):
        assert phone.check().status_code == 200
    assert len(checked_out) == 1
    services.database.connections.release()
    assert phone.check().status_code == 200
    assert len(checked_out) == 2


def test_what_was_held_for_long_goes_through_the_pool_again(services: Services) -> None:
    engine = services.database.engine
    cache = ConnectionCache(engine, Unwatched(), pool_size=16, max_age=0)
    first = cache.take()
    cache.give_back(first)
    assert cache.take() is not first


def test_most_connections_stay_with_the_pool_however_many_checks_there_were(
    services: Services,
) -> None:
    pool, cache = services.database.engine.pool, services.database.connections
    assert isinstance(pool, QueuePool)
    taken = [cache.take() for _ in range(8)]
    assert pool.checkedout() == 8
    for each in taken:
        cache.give_back(each)
    assert pool.checkedout() == MAX_IDLE
    services.database.close()
    assert services.database.engine.pool is not pool
    assert pool.checkedout() == 0


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_small_pool_has_connections_left_after_checks(
    make_app: Callable[..., Flask], wechat: WeChat, size: int
) -> None:
    phone = Phone(make_app(pool_size=size, touch_interval="0"), wechat, "alice")
    for call in (phone.log_in, phone.check, phone.refresh, phone.check, phone.log_in):
        assert call().status_code == 200


@ON_POSTGRESQL
def test_a_forked_child_does_not_look_up_on_what_its_parent_held(
    services: Services, phone: Phone
) -> None:
    phone.log_in()
    assert phone.check().status_code == 200
    cache = services.database.connections
    mine = cache.take()
    cache.give_back(mine)
    read, write = os.pipe()
    if not (child := os.fork()):
        its = cache.take().connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
        os.write(write, str(its).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100).decode() != str(mine.connection.dbapi_connection.info.backend_pid)  # type: ignore[union-attr]
    os.close(read)
    os.close(write)
    assert phone.check().status_code == 200


@ON_POSTGRESQL
def test_a_forked_child_opens_connections_of_its_own(services: Services, phone: Phone) -> None:
    phone.log_in()
    with services.database.statement() as connection:
        mine = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    read, write = os.pipe()
    if not (child := os.fork()):
        with services.database.statement() as connection:
            its = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        os.write(write, str(its).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100).decode() != str(mine)
    os.close(read)
    os.close(write)
    with services.database.statement() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() == mine


def test_logins_of_one_user_keep_the_cap_however_many_at_once(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    app = make_app(max_sessions=5)
    phones = [Phone(app, wechat, "alice") for _ in range(20)]
    codes = [phone.code() for phone in phones]
    gate = threading.Barrier(20)

    def log_in(number: int) -> int:
        gate.wait(30)
        return phones[number].log_in(codes[number]).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(log_in, range(20)))
    assert statuses == [200] * 20
    assert [phone.check().status_code for phone in phones].count(200) == 5


class FakeSocket:
    """A connection of psycopg's, as far as a watchdog sees it."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.pgconn = self

    @property
    def socket(self) -> int:
        """The number of its socket."""
        return self.near.fileno()


def test_a_watchdog_cuts_what_takes_too_long_and_nothing_else() -> None:
    dog, slow, quick = Watchdog(), FakeSocket(), FakeSocket()
    with pytest.raises(Overdue), dog.watching(slow, time.monotonic()):
        assert slow.near.recv(1) == b""  # as whoever waits for an answer
    with dog.watching(quick, time.monotonic() + 60):
        quick.far.send(b"!")
        assert quick.near.recv(1) == b"!"
    for each in (slow, quick):
        each.near.close()
        each.far.close()


def test_a_watchdog_that_had_nothing_to_do_watches_again() -> None:
    dog = Watchdog(ticks_without_work=0)
    for _ in range(3):
        slow = FakeSocket()
        with pytest.raises(Overdue), dog.watching(slow, time.monotonic()):
            assert slow.near.recv(1) == b""
        slow.near.close()
        slow.far.close()
        time.sleep(2 * TICK)


def test_a_watchdog_that_could_not_start_tries_again() -> None:
    dog, slow = Watchdog(), FakeSocket()
    with no_more_threads(), dog.watching(slow, time.monotonic() + 60):
        pass
    with pytest.raises(Overdue), dog.watching(slow, time.monotonic()):
        assert slow.near.recv(1) == b""
    slow.near.close()
    slow.far.close()


def test_what_fails_for_many_is_told_once_in_ten_seconds_with_a_count(
    clock: SettableClock, caplog: pytest.LogCaptureFixture
) -> None:
    warn = RareWarning("somewhere", timer=lambda: clock().timestamp())
    for _ in range(100):
        warn("it %s", "failed")
    clock.advance(seconds=9.9)
    warn("it %s", "failed")
    clock.advance(seconds=0.2)
    warn("it %s", "failed")
    told = [record.getMessage() for record in caplog.records if record.name == "somewhere"]
    assert told == ["it failed", "it failed (100 more failed since the last line)"]
