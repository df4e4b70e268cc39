"""What the database may do to us: be slow, be full, be gone, be demoted, be busy."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Column, Integer, MetaData, Table, event, insert, select, text
from sqlalchemy.exc import ProgrammingError, StatementError
from sqlalchemy.pool import QueuePool

from tests.conftest import services_of
from tests.support.phone import Phone, problem
from tests.support.postgres import PostgresServer
from tests.support.settings import settings_for
from wxsession import create_app
from wxsession.app import Services
from wxsession.db import POOL_OVERFLOW, POOL_SIZE, UtcDateTime, connect
from wxsession.errors import Overloaded
from wxsession.held import HELD, Held
from wxsession.models import sessions
from wxsession.schema import upgrade
from wxsession.simulator import SettableClock, WeChat, wechat_transport

ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MOMENTS = Table("moments", MetaData(), Column("id", Integer), Column("at", UtcDateTime))


def test_a_moment_comes_back_in_utc_whatever_zone_it_went_in(database_url: str) -> None:
    database = connect(database_url)
    shanghai = timezone(timedelta(hours=8))
    moment = datetime(2026, 11, 21, 16, 30, 0, 123456, shanghai)
    with database.transaction() as connection:
        MOMENTS.create(connection)
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
        MOMENTS.create(connection)
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
        pytest.raises(
            ProgrammingError if services.database.is_postgresql else Overloaded
        ) as caught,
        services.database.statement() as connection,
    ):
        connection.execute(text("SELECT * FROM nowhere WHERE x = :x"), {"x": "canary"})
    assert "canary" not in f"{caught.value} {caught.value!r} {caught.value.__cause__}"


def test_an_exhausted_pool_is_told_within_two_seconds_and_liveness_needs_none(
    app: Flask, phone: Phone
) -> None:
    phone.log_in()
    database = services_of(app).database
    busy = [database.engine.connect() for _ in range(POOL_SIZE + POOL_OVERFLOW)]
    started = time.monotonic()
    answer = phone.check()
    assert problem(answer) == (503, "overloaded", None)
    assert answer.headers["Retry-After"]
    assert answer.json["retryable"] is True
    assert time.monotonic() - started < 4
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
            text("CREATE TRIGGER t BEFORE UPDATE ON sessions EXECUTE FUNCTION refuse()")
        )
    answer = phone.check()
    assert answer.status_code == 200
    assert answer.json["expires_in"] == (7 * 24 - 2) * 3600


@ON_POSTGRESQL
def test_a_demoted_primary_counts_as_a_broken_connection(services: Services) -> None:
    with pytest.raises(Overloaded), services.database.transaction() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        before = connection.connection.dbapi_connection
        connection.execute(sessions.delete())
    with services.database.statement() as connection:
        assert connection.connection.dbapi_connection is not before


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
        assert problem(getattr(phone, call)()) == (503, "overloaded", None)
        assert problem(phone.send("GET", "/readyz")) == (503, "not_ready", None)
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
    assert told == [f"every user of this machine can read {path}; chmod o-r cures that"] * warnings


def test_a_lookup_keeps_its_connection_for_the_next_one(services: Services, phone: Phone) -> None:
    phone.log_in()
    checked_out: list[object] = []
    pool = services.database.engine.pool
    event.listen(pool, "checkout", lambda connection, *_: checked_out.append(connection))
    for _ in range(3):
        assert phone.check().status_code == 200
    assert len(checked_out) == 1
    services.database.held.release()
    assert phone.check().status_code == 200
    assert len(checked_out) == 2


def test_what_was_held_for_long_goes_through_the_pool_again(services: Services) -> None:
    held = Held(services.database.engine, seconds=0)
    first = held.take()
    held.give_back(first)
    assert held.take() is not first


def test_most_connections_stay_with_the_pool_however_many_lookups_there_were(
    services: Services,
) -> None:
    pool, held = services.database.engine.pool, services.database.held
    assert isinstance(pool, QueuePool)
    taken = [held.take() for _ in range(POOL_SIZE)]
    assert pool.checkedout() == POOL_SIZE
    for each in taken:
        held.give_back(each)
    assert pool.checkedout() == HELD
    services.database.close()
    assert services.database.engine.pool is not pool
    assert pool.checkedout() == 0


@ON_POSTGRESQL
def test_a_forked_child_does_not_look_up_on_what_its_parent_held(
    services: Services, phone: Phone
) -> None:
    phone.log_in()
    assert phone.check().status_code == 200
    held = services.database.held
    mine = held.take()
    held.give_back(mine)
    read, write = os.pipe()
    if not (child := os.fork()):
        its = held.take().connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
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
