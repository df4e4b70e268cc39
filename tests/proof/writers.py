"""Fifty writers on one SQLite file: everybody gets a turn, and nobody finds it locked."""

import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from tests.proof.deployment import at_once
from tests.proof.outcome import Outcome
from tests.proof.processes import in_processes
from tests.support.settings import APPS, settings_for
from wxsession.errors import WxSessionError
from wxsession.logins.service import CodeLogin
from wxsession.services import Services
from wxsession.simulator import WeChat, wechat_transport
from wxsession.users.client import ClientInfo

_PROCESSES = 5
_THREADS = 10
_CLIENT = ClientInfo("203.0.113.7", None)


@dataclass(frozen=True)
class Share:
    """What one process does: so many operations by each of its threads."""

    database_url: str
    process: int
    operations: int


def prove(database_url: str, operations: int) -> Outcome:
    """Let every writer do so many operations."""
    shares = [Share(database_url, number, operations) for number in range(_PROCESSES)]
    violations = [fault for found in in_processes(_write, shares) for fault in found]
    writers = _PROCESSES * _THREADS
    return Outcome(writers * operations, tuple(violations), f"{writers} writers")


def _write(share: Share) -> list[str]:
    warnings = _Warnings()
    logging.getLogger("wxsession").addHandler(warnings)
    wechat = WeChat(APPS)
    services = Services.build(
        settings_for(share.database_url, touch_interval="0", wechat_concurrency=_THREADS),
        http=wechat_transport(wechat),
    )
    with ThreadPoolExecutor(_THREADS) as pool:
        writers = [
            _Writer(services, wechat, f"user-{share.process}-{thread}")
            for thread in range(_THREADS)
        ]
        found = at_once(pool, [partial(writer.write, share.operations) for writer in writers])
    services.database.close()
    return warnings.messages + [fault for faults in found for fault in faults]


class _Writer:
    """A user who logs in, is checked and refreshed for a while, and logs out."""

    def __init__(self, services: Services, wechat: WeChat, name: str) -> None:
        self._services = services
        self._wechat = wechat
        self._name = name
        self._token: str | None = None
        self._logins = 0

    def write(self, operations: int) -> list[str]:
        """Do so many things; return what went wrong."""
        rng = random.Random(self._name)  # noqa: S311 - the same mixture in every run
        found: list[str] = []
        for _ in range(operations):
            step: Callable[[], None] = self._log_in
            if self._token is not None:
                step = rng.choice((self._check, self._check, self._refresh, self._log_out))
            try:
                step()
            except WxSessionError as error:
                found.append(f"{step.__name__}: {error}")
        return found

    def _log_in(self) -> None:
        # Another name every time: WeChat counts how often a user comes in a minute.
        self._logins += 1
        code = self._wechat.login(f"{self._name}-{self._logins}")
        login = self._services.logins.by_code(CodeLogin(code), _CLIENT)
        self._token = login.grant.session_token

    def _check(self) -> None:
        self._services.sessions.check(self._token or "")

    def _refresh(self) -> None:
        grant = self._services.sessions.refresh(self._token or "", _CLIENT)
        self._token = grant.session_token

    def _log_out(self) -> None:
        self._services.sessions.end(self._token or "", _CLIENT)
        self._token = None


class _Warnings(logging.Handler):
    """Hears what the database says where nobody is told: a check goes on without its write."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
