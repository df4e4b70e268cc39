"""Machines are upgraded one after the other: old and new code on one database, under load."""

import io
import re
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Final

import psycopg
import pytest

from tests.support.clients import Clients
from tests.support.documents import block_with
from tests.support.migrations import ADDITIVE, Future
from tests.support.postgres import PostgresServer
from tests.support.service import ROOT, Service, Simulator, plain_environment
from tests.support.settings import environment
from tests.support.waiting import eventually
from wxsession.storage.database import SCHEMA_REVISION, connect

pytestmark = pytest.mark.long

_VERSIONS: Final = "migrations/versions"


class OldService(Service):
    """The code of a checkout, before the newest migration."""

    def __init__(self, database_url: str, folder: Path, simulator: Simulator) -> None:
        super().__init__(database_url, wechat_url=simulator.url)
        self._folder = folder


@pytest.fixture(scope="module")
def old_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout of the newest code with fewer migrations; skip without a history."""
    commits = git("rev-list", "--topo-order", "--max-count=400", "HEAD").split()
    folders = git("rev-parse", *(f"{commit}:{_VERSIONS}" for commit in commits)).split()
    newest_with = dict(reversed(list(zip(folders, commits, strict=False))))
    ours = migrations_of(folders[0]) if folders else set()
    # A branch may have numbered its migrations in another way: only a history that is ours.
    older = [folder for folder in newest_with if migrations_of(folder) < ours]
    if not older:
        pytest.skip("there is no history of git here, and so no old code")
    commit = newest_with[max(older, key=lambda folder: len(migrations_of(folder)))]
    archive = subprocess.run(
        ["git", "archive", commit], cwd=ROOT, capture_output=True, check=True, timeout=60
    ).stdout
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def migrations_of(folder: str) -> set[str]:
    """Return the migrations in a version of the folder: names, and hashes of contents."""
    return set(git("ls-tree", folder).splitlines())


def git(*words: str) -> str:
    """Return what git prints, nothing if it fails."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def run(folder: Path, database_url: str, *words: str) -> str:
    """Return what a program of Python prints in that checkout."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=plain_environment() | environment(database_url),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def upgrade_database(folder: Path, database_url: str) -> str:
    return run(folder, database_url, "flask", "--app", "wsgi", "upgrade-database")


def more_sessions(clients: Clients) -> None:
    """Wait until clients have lived through some whole sessions from now on."""
    beginning = len(clients.sessions)
    eventually(lambda: len(clients.sessions) >= beginning + 8)


def assert_nobody_noticed(clients: Clients) -> None:
    assert {answer.status for answer in clients.answers} <= {200, 204}, [
        answer for answer in clients.answers if answer.status >= 400
    ][:5]
    assert not clients.lost()


def test_old_and_new_code_serve_together_and_the_schema_goes_both_ways(
    bare_url: str, old_code: Path, simulator: Simulator
) -> None:
    old_revision = re.findall(r"\d{8}_\d\d", upgrade_database(old_code, bare_url))[0]
    assert old_revision < SCHEMA_REVISION
    with (
        OldService(bare_url, old_code, simulator) as first,
        OldService(bare_url, old_code, simulator) as second,
        Service(bare_url, wechat_url=simulator.url) as new,
    ):
        machines = [first.url, second.url]
        with Clients(machines, simulator, number=8, pause=0.02, refreshes=1) as clients:
            more_sessions(clients)
            assert new.send("GET", "/readyz").status_code == 503
            assert SCHEMA_REVISION in upgrade_database(ROOT, bare_url)
            more_sessions(clients)
            assert new.send("GET", "/readyz").status_code == 200
            machines[1] = new.url
            more_sessions(clients)
            machines[1] = second.url
            more_sessions(clients)
            run(ROOT, bare_url, "alembic", "downgrade", old_revision)
            more_sessions(clients)
        assert_nobody_noticed(clients)


@pytest.fixture
def future(tmp_path: Path) -> Future:
    """Return migrations with two more: what is added at once, and the page's index."""
    return Future(tmp_path / "migrations", ADDITIVE, block_with("autocommit_block", "python"))


def test_this_code_serves_on_a_newer_schema_and_starts_on_it(
    bare_url: str, future: Future, simulator: Simulator
) -> None:
    upgrade_database(ROOT, bare_url)
    database = connect(bare_url)
    with Service(bare_url, wechat_url=simulator.url) as service:
        with Clients([service.url], simulator, number=8, pause=0.02, refreshes=1) as clients:
            more_sessions(clients)
            future.upgrade(database)
            more_sessions(clients)
            assert service.send("GET", "/readyz").status_code == 200
            assert future.revision in upgrade_database(ROOT, bare_url)
            with Service(bare_url, wechat_url=simulator.url) as another:
                assert another.send("GET", "/readyz").status_code == 200
            future.downgrade(database)
            more_sessions(clients)
        assert_nobody_noticed(clients)
    database.close()


def test_a_migration_that_finds_a_table_in_use_lets_others_pass_and_comes_again(
    own_postgres: PostgresServer, future: Future, simulator: Simulator
) -> None:
    url = own_postgres.url("own")
    database = connect(url)
    upgrading = threading.Thread(target=future.upgrade, args=(database,))
    address = f"host=127.0.0.1 port={own_postgres.port} user=postgres dbname=own"
    with Service(url, wechat_url=simulator.url, database_timeout="5s") as service:
        with Clients([service.url], simulator, number=8, pause=0.02, refreshes=1) as clients:
            more_sessions(clients)
            with psycopg.connect(address) as report:
                report.execute("SELECT count(*) FROM wxsession_sessions")  # its lock stays
                upgrading.start()
                for _ in range(4):
                    more_sessions(clients)
                assert upgrading.is_alive()
            upgrading.join()
            more_sessions(clients)
        assert_nobody_noticed(clients)
    assert future.revision in upgrade_database(ROOT, url)
    database.close()
