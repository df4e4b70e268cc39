"""A process is killed at every SQL boundary of a login, a refresh, a logout and a purge.

Whatever was acknowledged is still there, nothing is half made, and the client that got no answer
asks again and is served.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import requests
from sqlalchemy import ColumnElement, Select, exists, func, insert, select, text, update

from tests.proof.boundaries import DIE_AT, PURGE
from tests.proof.deployment import Deployment, add_sessions, add_user, deployed
from tests.proof.outcome import Outcome
from tests.support.service import token_of
from tests.support.settings import APPID
from tests.support.wsgi_servers import Gunicorn
from wxsession.simulator.generators import openid
from wxsession.storage.database import new_id
from wxsession.storage.tables import (
    WECHAT,
    identities,
    is_live,
    leases,
    login_codes,
    session_keys,
    sessions,
    users,
)

_WORKERS = 3
_PATIENCE = 60.0
_MAX_BOUNDARIES = 200
_BATCH = 10


@dataclass(frozen=True)
class Attempt:
    """A request that may cost the process its life, and what the client does after that."""

    send: Callable[[dict[str, str]], requests.Response]
    recover: Callable[[], Iterator[str]]
    """Asks again as a client would; yields what was wrong."""


@dataclass(frozen=True)
class Operation:
    """Something that is killed at each of its boundaries."""

    name: str
    begin: Callable[[], Attempt]
    waits_for_lease: bool = False
    """Whether asking again means to wait for a lease: then all who wait do so together."""


@dataclass
class Acknowledged:
    """The sessions that the server has acknowledged: the live ones, and those that have ended."""

    live: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

    def end(self, token: str) -> None:
        """Note that a session is known to have ended."""
        self.live.discard(token)
        self.ended.add(token)


def prove(database_url: str, kills: int) -> Outcome:
    """Kill at every boundary, again and again until there were at least so many kills."""
    with deployed(
        database_url,
        # Preloaded: a worker that was killed is back at once.
        server=Gunicorn(workers=_WORKERS, options=("--preload",)),
        module="tests.proof.dying_server:app",
        code_limit="0",  # every code that died is sent again, all from one address
    ) as deployment:
        return _KillTest(deployment).run(kills)


class _KillTest:
    def __init__(self, deployment: Deployment) -> None:
        self._service = deployment.service
        self._wechat = deployment.wechat
        self._local = deployment.local
        self._signer = deployment.signer
        self._acknowledged = Acknowledged()
        self._purged_user = add_user(self._local.database)  # whose sessions are there to be purged
        self._names = (f"user-{number}" for number in count())
        self._operations = (
            Operation("first login", self._first_login, waits_for_lease=True),
            Operation("login with a session to replace", self._next_login, waits_for_lease=True),
            Operation("login by a code sent before", self._replayed_login),
            Operation("refresh", self._refresh),
            Operation("logout", self._logout),
            Operation("logout everywhere", self._logout_everywhere),
            Operation("purge", self._purge),
        )

    def run(self, kills: int) -> Outcome:
        done = 0
        violations: list[str] = []
        boundaries: dict[str, int] = {}
        while done < kills and not violations:
            for operation in self._operations:
                killed, wrong = self._kill_at_each_boundary(operation)
                boundaries[operation.name] = killed
                done += killed
                violations += [f"{operation.name}: {fault}" for fault in wrong]
        violations += self._lost(self._ask_over_http)
        seen = ", ".join(f"{name} {found}" for name, found in boundaries.items())
        return Outcome(done, tuple(violations), f"boundaries: {seen}")

    def _kill_at_each_boundary(self, operation: Operation) -> tuple[int, list[str]]:
        """Return how many boundaries there are, and what was wrong after a death at one."""
        wrong: list[str] = []
        recovering: list[Attempt] = []
        for boundary in range(1, _MAX_BOUNDARIES):
            attempt = operation.begin()
            survived = self._survives(attempt, boundary)
            wrong += self._inconsistencies()
            if operation.waits_for_lease:
                recovering.append(attempt)
            else:
                wrong += attempt.recover()
            wrong += self._lost(self._live_rows())
            if survived:
                break
        with ThreadPoolExecutor(max(1, len(recovering))) as pool:
            for faults in pool.map(lambda attempt: list(attempt.recover()), recovering):
                wrong += faults
        wrong += self._inconsistencies()
        wrong += self._lost(self._live_rows())
        return boundary - 1, wrong

    def _survives(self, attempt: Attempt, boundary: int) -> bool:
        try:
            answer = attempt.send({DIE_AT: str(boundary)})
        except requests.ConnectionError:
            return False
        assert answer.ok, f"nobody was killed, and yet: {answer.status_code} {answer.text}"
        return True

    # The operations.

    def _first_login(self) -> Attempt:
        name = next(self._names)
        code = self._wechat.code(name)

        def recover() -> Iterator[str]:
            if self._sessions_of(name) > 1:
                yield "two sessions of one request"
            yield from self._retry_login(name, code)

        return Attempt(lambda headers: self._service.log_in(code, headers=headers), recover)

    def _next_login(self) -> Attempt:
        name = next(self._names)
        present = token_of(self._service.log_in(self._wechat.code(name)))
        code = self._wechat.code(name)

        def recover() -> Iterator[str]:
            yield from self._retry_login(name, code, present)
            if self._service.check(present).ok:
                yield "the session that was replaced lives on"
            self._acknowledged.end(present)

        return Attempt(
            lambda headers: self._service.log_in(code, token=present, headers=headers), recover
        )

    def _replayed_login(self) -> Attempt:
        name = next(self._names)
        code = self._wechat.code(name)
        self._acknowledged.live.add(token_of(self._service.log_in(code)))
        return Attempt(
            lambda headers: self._service.log_in(code, headers=headers),
            lambda: self._retry_login(name, code),
        )

    def _refresh(self) -> Attempt:
        name = next(self._names)
        token = token_of(self._service.log_in(self._wechat.code(name)))
        self._acknowledged.live.add(token)

        def recover() -> Iterator[str]:
            if not self._service.check(token).ok:
                yield "the token of a refresh without an answer is dead"
            answer = self._service.refresh(token)
            if not answer.ok:
                yield f"asked again, refresh says {answer.text}"
                return
            next_ = token_of(answer)
            if not self._service.check(next_).ok:
                yield "the next token does not work"
            if (found := self._sessions_of(name)) != 1:
                yield f"one session became {found}"
            self._acknowledged.live.discard(token)
            self._acknowledged.live.add(next_)

        return Attempt(lambda headers: self._service.refresh(token, headers=headers), recover)

    def _logout(self) -> Attempt:
        return self._logout_of(1)

    def _logout_everywhere(self) -> Attempt:
        return self._logout_of(3)

    def _logout_of(self, devices: int) -> Attempt:
        name = next(self._names)
        tokens = [token_of(self._service.log_in(self._wechat.code(name))) for _ in range(devices)]
        body = {"everywhere": devices > 1}

        def send(headers: dict[str, str]) -> requests.Response:
            return self._service.send(
                "POST", "/logout", token=tokens[0], headers=headers, json=body
            )

        def recover() -> Iterator[str]:
            if (status := send({}).status_code) != 204:
                yield f"asked again, logout says {status}"
            for token in tokens:
                if self._service.check(token).ok:
                    yield "a session outlives its logout"
                self._acknowledged.end(token)

        return Attempt(send, recover)

    def _purge(self) -> Attempt:
        due = set(self._add_sessions(25, days=8))
        kept = set(self._add_sessions(5, days=6))
        self._add_code()

        def recover() -> Iterator[str]:
            self._await_rollbacks()
            self._expire_leases()
            left = due & self._ids()
            status, done = self._purge_when_unlocked()
            if (status, done.get("sessions")) != (200, len(left)):
                yield f"{len(left)} were left, the next purge says {status} {done}"
            if due & self._ids() or self._local.purge.count(self._local.settings.retention):
                yield "the next purge leaves rows that are due"
            if not kept <= self._ids():
                yield "a session was deleted before its time"

        return Attempt(self._send_purge, recover)

    # What a client does.

    def _retry_login(self, name: str, code: str, token: str | None = None) -> Iterator[str]:
        """Send the code again; where it is spent or nobody knows, get another one."""
        answer = self._service.log_in(code, token=token)
        if not (answer.ok or answer.json()["code"] == "code_used" or answer.json()["retryable"]):
            yield f"asked again, login says {answer.text}"
        answer = self._service.log_in(self._wechat.code(name), token=token)
        if not answer.ok:
            yield f"with a new code, login says {answer.text}"
            return
        if not self._service.check(token_of(answer)).ok:
            yield "the session of the new code does not work"
        self._acknowledged.live.add(token_of(answer))

    def _send_purge(self, headers: dict[str, str]) -> requests.Response:
        return self._service.send("POST", f"{PURGE}?batch_size={_BATCH}", headers=headers)

    def _expire_leases(self) -> None:
        """Do what else the time would do, at each of a hundred boundaries."""
        past = datetime.now(UTC) - timedelta(hours=1)
        with self._local.database.statement() as connection:
            connection.execute(update(leases).values(held_until=past))

    def _purge_when_unlocked(self) -> tuple[int, dict[str, Any]]:
        """Purge as soon as the database has seen that the holder of the lock is dead."""
        deadline = time.monotonic() + _PATIENCE
        while (answer := self._send_purge({})).status_code == 409 and time.monotonic() < deadline:
            time.sleep(0.01)
        return answer.status_code, answer.json()

    # What has to hold.

    def _lost(self, check: Callable[[str], bool]) -> Iterator[str]:
        """Yield what the server has acknowledged and lost."""
        if lost := sum(not check(token) for token in self._acknowledged.live):
            yield f"{lost} acknowledged sessions are lost"
        if revived := sum(map(check, self._acknowledged.ended)):
            yield f"{revived} ended sessions are back"

    def _live_rows(self) -> Callable[[str], bool]:
        """Return whether a token is good by what is in the database now."""
        query = select(sessions.c.id, sessions.c.token_hash).where(is_live(datetime.now(UTC)))
        with self._local.database.statement() as connection:
            stored = {row.id: bytes(row.token_hash) for row in connection.execute(query)}

        def is_good(token: str) -> bool:
            presented = self._signer.load(token)
            good = (presented, *self._signer.successors(presented))
            return stored.get(presented.session_id) in {one.hash for one in good}

        return is_good

    def _ask_over_http(self, token: str) -> bool:
        return self._service.check(token).ok

    def _inconsistencies(self) -> Iterator[str]:
        """Yield what no login, refresh, logout or purge leaves behind, wherever it stops."""
        queries: dict[str, Select[Any]] = {
            "a session without user": _without(sessions, users.c.id == sessions.c.user_id),
            "a user without identity": _without(
                users, identities.c.user_id == users.c.id, users.c.id != self._purged_user
            ),
            "an identity without user": _without(identities, users.c.id == identities.c.user_id),
            "an identity without session_key": _without(
                identities, session_keys.c.identity_id == identities.c.id
            ),
            "a session of another user's identity": select(sessions.c.id).where(
                sessions.c.identity_id == identities.c.id,
                sessions.c.user_id != identities.c.user_id,
            ),
            "a granted code of nobody": select(login_codes.c.code_hash).where(
                login_codes.c.outcome == "granted", login_codes.c.identity_id.is_(None)
            ),
            "a session half ended": select(sessions.c.id).where(
                sessions.c.ended_at.is_(None) != sessions.c.end_reason.is_(None)
            ),
        }
        with self._local.database.statement() as connection:
            for what, query in queries.items():
                if found := len(connection.execute(query).all()):
                    yield f"{what} ({found})"

    # A look into the database.

    def _sessions_of(self, name: str) -> int:
        """Return how many live sessions a user of WeChat has."""
        theirs = select(func.count()).where(
            sessions.c.identity_id == identities.c.id,
            identities.c.provider == WECHAT,
            identities.c.openid == openid(APPID, name),
            is_live(datetime.now(UTC)),
        )
        with self._local.database.statement() as connection:
            return connection.execute(theirs).scalar_one()

    def _ids(self) -> set[UUID]:
        with self._local.database.statement() as connection:
            return set(connection.execute(select(sessions.c.id)).scalars())

    def _add_sessions(self, number: int, *, days: int) -> list[UUID]:
        database = self._local.database
        return add_sessions(database, self._purged_user, number, expired=timedelta(days=days))

    def _add_code(self) -> None:
        """Add a login code that nobody may replay any more."""
        code = insert(login_codes).values(
            code_hash=new_id().bytes * 2,
            claim_id=new_id(),
            expires_at=datetime.now(UTC) - timedelta(minutes=1),
        )
        with self._local.database.statement() as connection:
            connection.execute(code)

    def _await_rollbacks(self) -> None:
        """Wait until PostgreSQL has rolled back what a dead process had begun."""
        if not self._local.database.is_postgresql:
            return
        query = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state LIKE 'idle in transaction%'"
        )
        deadline = time.monotonic() + _PATIENCE
        with self._local.database.statement() as connection:
            while connection.execute(query).scalar_one() and time.monotonic() < deadline:
                time.sleep(0.01)


def _without(table: Any, partner: ColumnElement[bool], *more: ColumnElement[bool]) -> Select[Any]:
    """Return the query for rows that have no such partner."""
    return select(table.c[0]).where(~exists().where(partner).correlate(table), *more)
