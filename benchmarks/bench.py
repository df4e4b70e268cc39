"""What every subject measures with: a PostgreSQL, a load generator, sessions to ask for."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks import filling
from benchmarks.database import Postgres
from benchmarks.load import Load, Request
from benchmarks.scale import Scale
from benchmarks.servers import Peer, peer_environment
from tests.support.service import ROOT


@dataclass(frozen=True)
class FilledDatabase:
    """A database with sessions, and the requests that present some of them."""

    url: str
    name: str
    sessions: int
    requests: list[Request]


@dataclass
class Bench:
    """The surroundings of a run."""

    postgres: Postgres
    bare: Peer
    """The bare Flask route, to which everything is compared; it runs all the time."""
    load: Load
    scale: Scale
    folder: Path
    say: Callable[[str], None]
    _filled: dict[int, FilledDatabase] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=count)

    def ours(self, sessions: int | None = None) -> FilledDatabase:
        """Return a database of ours with so many sessions, filled once and shared."""
        wanted = sessions or self.scale.sessions
        if wanted not in self._filled:
            self._filled[wanted] = self.fresh(wanted)
        return self._filled[wanted]

    def fresh(self, sessions: int) -> FilledDatabase:
        """Return a database of ours for one subject alone."""
        name = f"ours_{next(self._numbers)}"
        self.postgres.create_database(name)
        url = self.postgres.url(name)
        return self._fill(url, name, sessions, after=lambda: self.postgres.vacuum(name))

    def drop(self, filled: FilledDatabase) -> None:
        """Remove a database that was for one subject alone."""
        self.postgres.drop_database(filled.name)

    def in_file(self, sessions: int) -> FilledDatabase:
        """Return an SQLite file of ours."""
        name = f"ours_{next(self._numbers)}.db"
        return self._fill(f"sqlite:///{self.folder / name}", name, sessions)

    def peer(self, name: str, sessions: int, presented: int) -> FilledDatabase:
        """Return a database of a peer for one subject alone, filled by the peer's own program."""
        database, begun = f"{name}_{next(self._numbers)}", time.monotonic()
        self.postgres.create_database(database)
        by_sqlalchemy, postgres = name.endswith("_sqlalchemy"), self.postgres
        url = (postgres.url if by_sqlalchemy else postgres.plain_url)(database)
        program = [sys.executable, "-m", f"benchmarks.peers.{name}.fill"]
        done = subprocess.run(
            [*program, str(sessions), str(presented)],
            cwd=ROOT,
            env={**os.environ, **peer_environment(url)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        self.postgres.vacuum(database)
        self.say(f"  {name}: {sessions:,} sessions in {time.monotonic() - begun:.0f} s")
        headers = (line.partition(": ") for line in done.stdout.splitlines())
        requests = [Request({header: value}) for header, _, value in headers]
        return FilledDatabase(url, database, sessions, requests)

    def _fill(
        self, url: str, name: str, sessions: int, *, after: Callable[[], object] = lambda: None
    ) -> FilledDatabase:
        begun = time.monotonic()
        filling.migrate(url)
        filling.fill(url, sessions)
        tokens = filling.present(url, min(sessions, self.scale.presented))
        after()
        self.say(f"  wxsession: {sessions:,} sessions in {time.monotonic() - begun:.0f} s")
        return FilledDatabase(url, name, sessions, filling.bearers(tokens))
