"""Purges that meet one another, and purges that meet somebody who extends a session."""

import json
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from sqlalchemy import select, update

from tests.proof.deployment import add_sessions, add_user, at_once, services
from tests.proof.outcome import Outcome
from tests.support.service import ROOT, plain_environment
from tests.support.settings import environment
from wxsession.cli import EXIT_ANOTHER_IS_RUNNING
from wxsession.errors import PurgeRunning
from wxsession.services import Services
from wxsession.sessions.queries import purge_date
from wxsession.storage.tables import sessions

_PURGES = 4
_DUE = 300
_MANY_DUE = 2000  # long enough that the commands overlap, whichever starts first
_EXTENDERS = 4
_BATCH = 10


def prove_together(database_url: str, rounds: int) -> Outcome:
    """Start four purge commands at once: every row goes once, whoever deletes it."""
    violations: list[str] = []
    turned_away = 0
    with services(database_url) as local, ThreadPoolExecutor(_PURGES) as pool:
        user = add_user(local.database)
        for _ in range(rounds):
            due = set(add_sessions(local.database, user, _MANY_DUE, expired=timedelta(days=8)))
            kept = set(add_sessions(local.database, user, 10, expired=timedelta(days=6)))
            done = at_once(pool, [partial(_command, database_url)] * _PURGES)
            turned_away += sum(one.returncode == EXIT_ANOTHER_IS_RUNNING for one in done)
            violations += [
                f"exit status {one.returncode}: {one.stderr}"
                for one in done
                if one.returncode not in {0, EXIT_ANOTHER_IS_RUNNING}
            ]
            deleted = sum(json.loads(one.stdout)["sessions"] for one in done if not one.returncode)
            if deleted != len(due):
                violations.append(f"{deleted} were deleted of {len(due)} that were due")
            if due & _ids(local):
                violations.append("rows that are due were left")
            if not kept <= _ids(local):
                violations.append("a session was deleted before its time")
    seen = f"{rounds * _PURGES} commands, {turned_away} of them found another one running"
    return Outcome(rounds, tuple(violations), seen)


def prove_extended(database_url: str, rounds: int) -> Outcome:
    """Extend the very rows that a purge is about to delete: who was told so is not deleted."""
    violations: list[str] = []
    extended, raced = 0, 0
    with services(database_url) as local, ThreadPoolExecutor(_PURGES + _EXTENDERS) as pool:
        user = add_user(local.database)
        for number in range(rounds):
            due = add_sessions(local.database, user, _DUE, expired=timedelta(days=8))
            race = _Race(local, due, seed=number)
            at_once(pool, [race.purge] * _PURGES + [race.extend] * _EXTENDERS)
            if lost := race.extended - _ids(local):
                violations.append(f"{len(lost)} extended sessions were deleted")
            local.purge.run(local.settings.retention)
            if set(due) & _ids(local) != race.extended:
                violations.append("the next purge does not delete exactly the rest")
            extended += len(race.extended)
            raced += len(due) - len(race.extended)
    return Outcome(
        rounds, tuple(violations), f"{extended} rows were extended in time, {raced} were not"
    )


class _Race:
    """Purges and extensions of the same rows, which are due."""

    def __init__(self, local: Services, due: list[UUID], seed: int) -> None:
        self._local = local
        self._due = due
        self._rng = random.Random(seed)  # noqa: S311 - the same choices in every run
        self._purged = threading.Event()
        self.extended: set[UUID] = set()

    def purge(self) -> None:
        with suppress(PurgeRunning):
            self._local.purge.run(self._local.settings.retention, batch_size=_BATCH)
            self._purged.set()

    def extend(self) -> None:
        """Extend rows in random order until the purge is over; note those that were there."""
        for id_ in self._rng.sample(self._due, len(self._due)):
            if self._purged.is_set():
                return
            until = datetime.now(UTC) + timedelta(days=1)
            extending = (
                update(sessions)
                .where(sessions.c.id == id_)
                .values(idle_expires_at=until, purge_on=purge_date(until))
            )
            with self._local.database.statement() as connection:
                if connection.execute(extending).rowcount:
                    self.extended.add(id_)


def _command(database_url: str) -> subprocess.CompletedProcess[str]:
    purge = ("purge-sessions", "--json", "--batch-size", str(_BATCH))
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", *purge],
        cwd=ROOT,
        env=plain_environment() | environment(database_url),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def _ids(local: Services) -> set[UUID]:
    with local.database.statement() as connection:
        return set(connection.execute(select(sessions.c.id)).scalars())
