"""One WeChat, one clock, one server, and every test on both databases.

The only doubles are the simulator and the clock. PostgreSQL is a real one, started once for the
run; each test gets a database of its own, cloned from a migrated one.
"""

import logging
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from flask import Flask

from tests.support.phone import Phone
from tests.support.postgres import PostgresServer
from tests.support.service import Simulator
from tests.support.settings import APPID, APPS, SECRET_KEY, settings_for
from wxsession import create_app
from wxsession.app import EXTENSION
from wxsession.services import Services
from wxsession.settings import Settings
from wxsession.simulator import SettableClock, WeChat, wechat_transport
from wxsession.storage.database import connect
from wxsession.storage.migrate import upgrade

collect_ignore = [] if sys.platform == "linux" else ["test_benchmarks.py"]  # it reads /proc

TODAY = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)

_numbers = count()


@pytest.fixture(autouse=True)
def watch_the_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Let every test log at DEBUG, and fail if a secret of ours was logged in any of them."""
    caplog.set_level(logging.DEBUG)
    yield
    shown = [secret for secret in (*APPS.values(), SECRET_KEY) if secret in caplog.text]
    shown += re.findall(r"wxs_[\w-]{64}\.[\w-]{43}", caplog.text)
    assert not shown


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Return a running PostgreSQL with a migrated database ``template``."""
    with PostgresServer() as server:
        server.create_database("template")
        _migrate(server.url("template"))
        yield server


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of an empty, migrated database; each test runs once for each kind."""
    if request.param == "postgresql":
        yield from _clone(request.getfixturevalue("postgres"))
    else:
        yield _copy(request.getfixturevalue("migrated_file"), request.getfixturevalue("tmp_path"))


@pytest.fixture
def postgresql_url(postgres: PostgresServer) -> Iterator[str]:
    """Return the URL of an empty, migrated PostgreSQL database."""
    yield from _clone(postgres)


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """Return the URL of an empty, migrated SQLite database."""
    return _copy(migrated_file, tmp_path)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """Return a PostgreSQL that a test may take down, with a migrated database ``own``."""
    with PostgresServer() as server:
        server.create_database("own")
        _migrate(server.url("own"))
        yield server


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """Return a WeChat in a process of its own."""
    with Simulator() as running:
        yield running


@pytest.fixture
def clock() -> SettableClock:
    """Return a clock that stands still until a test moves it."""
    return SettableClock(TODAY)


@pytest.fixture
def wechat(clock: SettableClock) -> WeChat:
    """Return a WeChat that knows our apps."""
    return WeChat(APPS, clock=clock)


@pytest.fixture
def make_app(
    database_url: str, clock: SettableClock, wechat: WeChat
) -> Iterator[Callable[..., Flask]]:
    """Return a function that makes a server, with settings other than the defaults if wanted."""
    made: list[Flask] = []

    def make(**changes: object) -> Flask:
        settings: Settings = settings_for(database_url, **changes)
        made.append(create_app(settings, clock=clock, http=wechat_transport(wechat)))
        return made[-1]

    yield make
    for app in made:
        services_of(app).database.close()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return a server with the default settings."""
    return make_app()


@pytest.fixture
def services(app: Flask) -> Services:
    """Return what the server consists of."""
    return services_of(app)


@pytest.fixture
def phone(app: Flask, wechat: WeChat) -> Phone:
    """Return Alice's phone, not yet logged in."""
    return Phone(app, wechat, "alice")


@pytest.fixture
def make_phone(app: Flask, wechat: WeChat) -> Callable[..., Phone]:
    """Return a function that makes somebody's phone."""

    def make(user: str = "alice", *, appid: str = APPID, **described: str) -> Phone:
        return Phone(app, wechat, user, appid=appid, **described)

    return make


def services_of(app: Flask) -> Services:
    """Return what a server consists of."""
    found = app.extensions[EXTENSION]
    assert isinstance(found, Services)
    return found


def _clone(server: PostgresServer) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    server.clone("template", name)
    yield server.url(name)
    server.drop_database(name)


def _copy(migrated_file: Path, folder: Path) -> str:
    path = folder / "wxsession.db"
    shutil.copy(migrated_file, path)
    return f"sqlite:///{path}"


def _migrate(url: str) -> None:
    database = connect(url)
    upgrade(database)
    database.close()
