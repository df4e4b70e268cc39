"""Three machines with etcd, Patroni and PostgreSQL, as `docs/en/high-availability.md` has them.

The files are those of `deploy/patroni`. Other than there are the addresses, the folders, and that
no watchdog of this machine is armed.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import psycopg
import requests
import yaml  # type: ignore[import-untyped,unused-ignore]

from tests.support.network import Host, Lan
from tests.support.postgres import fast_folder, find_postgres, unprivileged
from tests.support.service import ROOT, plain_environment
from tests.support.waiting import eventually

FILES: Final = ROOT / "deploy" / "patroni"
DOCUMENTED: Final = "192.0.2."
"""How the addresses of the documents begin."""

PASSWORD: Final = "PASSWORD"
"""Of the service's role."""

_SUPERUSER_PASSWORD: Final = "PASSWORD-OF-THE-SUPERUSER"
_NAMES: Final = ("one", "two", "three")
_BIN: Final = Path(sys.executable).parent
_PATIENCE: Final = 90.0


class ClusterError(Exception):
    """There is no such cluster for the tests; the message says why."""


@dataclass
class Machine:
    """One of the three."""

    name: str
    host: Host
    folder: Path
    etcd: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    patroni: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def answers(self, path: str) -> bool:
        """Return whether Patroni answers 200 there: to /primary, if it holds the lease."""
        with suppress(requests.RequestException):
            return requests.get(f"http://{self.host.address}:8008{path}", timeout=2).ok
        return False

    def kill_database(self) -> None:
        """Kill PostgreSQL and Patroni with every process of theirs."""
        assert self.etcd
        self.host.signal(signal.SIGKILL, but={self.etcd.pid})

    def freeze(self) -> None:
        """Let every process there stand still; its kernel goes on to take connections."""
        self.host.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self.host.signal(signal.SIGCONT)


@dataclass
class Promotion:
    """Which machine became the primary, and when (monotonic)."""

    machine: Machine | None = None
    at: float = 0.0


class Cluster:
    """The three machines."""

    def __init__(self) -> None:
        """Start nothing yet.

        Raises:
            ClusterError: a program is missing.
            PostgresError: there is no PostgreSQL.
        """
        if not shutil.which("etcd"):
            raise ClusterError("the program 'etcd' is missing: apt install etcd-server")
        self.machines: list[Machine] = []
        self._lan = Lan()
        self._bin = find_postgres()
        self._account = unprivileged(self._bin)
        self._folder = Path()

    def __enter__(self) -> Self:
        """Return when two standbys follow a primary.

        Raises:
            NetworkError: this machine does not let us make a network.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="cluster-", dir=fast_folder()))
        self._folder.chmod(0o711)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End everything, and remove it."""
        self._lan.__exit__()
        for machine in self.machines:
            for program in filter(None, (machine.etcd, machine.patroni)):
                program.wait(10)
        shutil.rmtree(self._folder)

    def url(self, database: str = "wxsession") -> str:
        """Return the URL of a database as the page has it, for the service's role."""
        hosts = ",".join(f"{machine.host.address}:5432" for machine in self.machines)
        return (
            f"postgresql://wxsession:{PASSWORD}@{hosts}/{database}?target_session_attrs=read-write"
        )

    def primary(self) -> Machine:
        """Return the machine that holds the lease, as soon as one does."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            for machine in self.machines:
                if machine.answers("/primary"):
                    return machine
        raise ClusterError("there is no primary")

    def connect(self, machine: Machine, database: str = "postgres") -> psycopg.Connection:
        """Return a connection of the superuser to this machine."""
        return psycopg.connect(
            host=machine.host.address,
            user="postgres",
            password=_SUPERUSER_PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=2,
        )

    def await_whole(self) -> None:
        """Return when two standbys follow a primary, and either can take its place."""
        eventually(lambda: any(map(self._is_whole, self.machines)), seconds=_PATIENCE)

    def start_database(self, machine: Machine) -> None:
        """Start Patroni, which starts PostgreSQL."""
        if machine.patroni:
            machine.patroni.wait(10)  # it was killed
        patroni = str(_BIN / "patroni"), str(machine.folder / "patroni.yml")
        command = (*self._account.prefix, *patroni)
        environment = self._shipped("node.env", machine)
        machine.patroni = self._spawn(machine, "patroni", *command, environment=environment)

    def switch_over(self) -> None:
        """Let a standby and the primary change places, as an operator does."""
        command = (_BIN / "patronictl", "-c", "patroni.yml", "switchover", "wxsession", "--force")
        subprocess.run(
            command,
            cwd=self.machines[0].folder,
            env=plain_environment(),
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=_PATIENCE,
        )

    @contextmanager
    def watching(self, machines: Iterable[Machine]) -> Iterator[Promotion]:
        """Watch until one of these standbys is the primary, or the block ends."""
        promotion, done = Promotion(), threading.Event()
        watchers = [
            threading.Thread(target=self._watch, args=(machine, promotion, done))
            for machine in machines
        ]
        for watcher in watchers:
            watcher.start()
        try:
            yield promotion
        finally:
            done.set()
            for watcher in watchers:
                watcher.join()

    def _watch(self, machine: Machine, promotion: Promotion, done: threading.Event) -> None:
        while not done.wait(0.05):
            with suppress(psycopg.OperationalError), self.connect(machine) as connection:
                while not done.wait(0.05):
                    if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,):
                        promotion.at, promotion.machine = time.monotonic(), machine
                        return

    def _start(self) -> None:
        self._lan.__enter__()
        for number, name in enumerate(_NAMES, start=11):
            machine = Machine(name, self._lan.host(number), self._folder / name)
            self.machines.append(machine)
            machine.folder.mkdir(mode=0o700)
            os.chown(machine.folder, self._account.uid, self._account.gid)
            self._configure(machine)
        for machine in self.machines:
            environment = self._shipped("etcd.env", machine)
            environment["ETCD_DATA_DIR"] = str(self._folder / f"etcd-{machine.name}")
            machine.etcd = self._spawn(machine, "etcd", "etcd", environment=environment)
        first, *others = self.machines
        self.start_database(first)
        self.primary()
        for machine in others:
            self.start_database(machine)
        self.await_whole()

    def _configure(self, machine: Machine) -> None:
        shipped: dict[str, Any] = yaml.safe_load(self._here((FILES / "patroni.yml").read_text()))
        postgresql, folder = shipped["postgresql"], str(machine.folder)
        postgresql |= {"data_dir": f"{folder}/data", "pgpass": f"{folder}/pgpass"}
        postgresql["bin_dir"] = str(self._bin)
        postgresql["parameters"]["unix_socket_directories"] = folder
        shipped["watchdog"]["mode"] = "off"
        (machine.folder / "patroni.yml").write_text(yaml.safe_dump(shipped))

    def _shipped(self, name: str, machine: Machine) -> dict[str, str]:
        """Return the variables of a file that is for the first machine, for this one."""
        first, found = self.machines[0], {}
        for variable, value in re.findall(
            r"^(\w+)=(.*)$", self._here((FILES / name).read_text()), re.MULTILINE
        ):
            of_machine = value.replace(first.host.address, machine.host.address)
            found[variable] = value if variable == "ETCD_INITIAL_CLUSTER" else of_machine
            if value == first.name:
                found[variable] = machine.name
        return found

    def _here(self, text: str) -> str:
        return text.replace(DOCUMENTED, self._lan.prefix)

    def _spawn(
        self, machine: Machine, log: str, *command: str, environment: Mapping[str, str]
    ) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{log}-{machine.name}.log").open("ab") as output:
            return subprocess.Popen(
                [*machine.host.prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=machine.folder,
                env={**plain_environment(), **environment},
                start_new_session=True,
            )

    def _is_whole(self, machine: Machine) -> bool:
        query = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'"
        with suppress(psycopg.OperationalError):
            if machine.answers("/primary"):
                with self.connect(machine) as connection:
                    return connection.execute(query).fetchone() == (len(self.machines) - 1,)
        return False
