"""One WeChat, one clock, one server, one database of its own for each test.

The doubles are the simulator, the clock, and a hasher of passwords that costs nothing. The
database is a file of SQLite, and where that matters (`tests.support.databases`) PostgreSQL as
well: a real one, started once for a run and shared by the workers of pytest-xdist.
"""

import logging
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from argon2 import PasswordHasher
from flask import Flask

from tests.support.app import CHEAP_HASHER, TODAY, migrate, services_of
from tests.support.desk import Desk
from tests.support.installed import build_wheel
from tests.support.phone import Phone
from tests.support.postgres import Postgres, PostgresServer
from tests.support.service import Simulator
from tests.support.settings import APPID, APPS, SECRET_KEY, settings_for
from wxsession import create_app
from wxsession.services import Services
from wxsession.settings import Settings
from wxsession.simulator import SettableClock, WeChat, wechat_transport
from wxsession.storage.database import Database, connect

collect_ignore = [] if sys.platform == "linux" else ["test_benchmarks.py"]  # it reads /proc

_SHARED = pytest.StashKey[PostgresServer]()
_TEMPLATE = "template"
_numbers = count()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the PostgreSQL is that all of them share."""
    config: pytest.Config = node.config
    if _SHARED not in config.stash:
        server = config.stash[_SHARED] = PostgresServer()
        config.add_cleanup(server.stop)
        server.start()
        _fill(server)
    node.workerinput["postgres"] = (config.stash[_SHARED].host, config.stash[_SHARED].port)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let a test run once on each database that its mark names."""
    mark = metafunc.definition.get_closest_marker("databases")
    if mark and "database_url" in metafunc.fixturenames:
        metafunc.parametrize("database_url", mark.args, indirect=True)


@pytest.fixture(autouse=True)
def watch_the_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Let every test log at DEBUG, and fail if a secret of ours was logged in any of them."""
    caplog.set_level(logging.DEBUG)
    yield
    shown = [secret for secret in (*APPS.values(), SECRET_KEY) if secret in caplog.text]
    shown += re.findall(r"wx[st]_[\w-]{43,64}\.[\w-]{43}", caplog.text)
    assert not shown


@pytest.fixture(scope="session")
def worker(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what a worker of pytest-xdist was told; nothing where there are none."""
    return dict(getattr(request.config, "workerinput", {}))


@pytest.fixture(scope="session")
def postgres(worker: dict[str, Any]) -> Iterator[Postgres]:
    """Return a running PostgreSQL with a migrated database to be cloned."""
    if worker:
        yield Postgres(*worker["postgres"])
    else:
        with PostgresServer() as server:
            _fill(server)
            yield server


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty, migrated database; of SQLite, unless a mark says otherwise."""
    kind = getattr(request, "param", "sqlite")
    url: str = request.getfixturevalue(f"{kind}_url")
    return url


@pytest.fixture
def postgresql_url(postgres: Postgres, worker: dict[str, Any]) -> Iterator[str]:
    """Return the URL of an empty, migrated PostgreSQL database."""
    name = f"test_{worker.get('workerid', 'alone')}_{next(_numbers)}"
    postgres.clone(_TEMPLATE, name)
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """Return the URL of an empty, migrated SQLite database."""
    path = tmp_path / "wxsession.db"
    shutil.copy(migrated_file, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a database without any table, of both kinds in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'not yet' / 'there.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"bare_{secrets.token_hex(8)}"
    server.create_database(name)
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def bare(bare_url: str) -> Iterator[Database]:
    """Return a database without any table."""
    database = connect(bare_url)
    yield database
    database.close()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """Return a PostgreSQL that a test may take down, with a migrated database ``own``."""
    with PostgresServer() as server:
        server.create_database("own")
        migrate(server.url("own"))
        yield server


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this checkout."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
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

    def make(
        *,
        hasher: PasswordHasher = CHEAP_HASHER,
        http: requests.Session | None = None,
        **changes: object,
    ) -> Flask:
        settings: Settings = settings_for(database_url, **changes)
        http = http or wechat_transport(wechat)
        made.append(create_app(settings, clock=clock, http=http, hasher=hasher))
        return made[-1]

    yield make
    for app in made:
        services_of(app).database.close()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return a server with the default settings."""
    return make_app()


@pytest.fixture
def console(database_url: str, clock: SettableClock, wechat: WeChat) -> Iterator[Flask]:
    """Return the console over the same database as the server."""
    from wxsession.console import create_console  # noqa: PLC0415 - most tests do without

    settings = settings_for(database_url)
    http = wechat_transport(wechat)
    console = create_console(settings, clock=clock, http=http, hasher=CHEAP_HASHER)
    yield console
    services_of(console).database.close()


@pytest.fixture
def desk(console: Flask, clock: SettableClock) -> Desk:
    """Return the browser of ada, who is not an admin yet."""
    return Desk(console, clock, "ada")


@pytest.fixture
def make_desk(console: Flask, clock: SettableClock) -> Callable[..., Desk]:
    """Return a function that makes the browser of somebody else."""

    def make(name: str, **described: str) -> Desk:
        return Desk(console, clock, name, **described)

    return make


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


def _fill(server: Postgres) -> None:
    server.create_database(_TEMPLATE)
    migrate(server.url(_TEMPLATE))
