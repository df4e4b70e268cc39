"""Clients that use a service while something happens to it, and remember what they were told.

Each logs in as somebody new, checks, refreshes and perhaps logs out, one request after the other,
and sends a request again that is answered 503. What was acknowledged has to hold afterwards:
`lost` says what does not.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from typing import Final, NamedTuple, Self

import requests

from tests.support.service import Simulator, code_of, token_of

_PATIENCE: Final = 60.0
_LOG_OUT_EVERY: Final = 4


class Answer(NamedTuple):
    """What a request was answered with, and when (monotonic) it was sent and answered."""

    call: str
    status: int
    code: str
    sent: float
    at: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.at - self.sent


@dataclass
class KnownSession:
    """A session as its client knows it: the newest token, and whether its end was acknowledged."""

    token: str
    ended: bool = False


class Clients:
    """So many clients of the service; each sends its requests to these addresses in turn.

    Others may take their places in the sequence meanwhile.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        simulator: Simulator,
        *,
        number: int = 10,
        pause: float = 0.1,
        refreshes: int = 3,
    ) -> None:
        """Start nothing yet; a client pauses so many seconds after each request."""
        self.answers: list[Answer] = []
        self.sessions: list[KnownSession] = []
        self._addresses = addresses
        self._simulator = simulator
        self._pause = pause
        self._refreshes = refreshes
        self._done = threading.Event()
        self._number = number
        self._numbers = count()
        self._pool = ThreadPoolExecutor(number)

    def __enter__(self) -> Self:
        """Let them begin."""
        self._running = [self._pool.submit(self._live) for _ in range(self._number)]
        return self

    def __exit__(self, *_: object) -> None:
        """Let each finish the request that it is at; raise what went wrong in any."""
        self._done.set()
        self._pool.shutdown()
        for client in self._running:
            client.result()

    def lost(self) -> list[str]:
        """Return what was acknowledged and does not hold."""
        with requests.Session() as http, ThreadPoolExecutor(8) as pool:
            http.trust_env = False
            address = self._addresses[0]

            def fault(known: KnownSession) -> str:
                bearer = {"Authorization": f"Bearer {known.token}"}
                url = f"{address}/check_session"
                answer = http.get(url, headers=bearer, timeout=_PATIENCE)
                found = answer.status_code, code_of(answer) or ""
                wanted = (401, "session_ended") if known.ended else (200, "")
                return "" if found == wanted else f"{found} instead of {wanted}"

            return list(filter(None, pool.map(fault, list(self.sessions))))

    def _live(self) -> None:
        with requests.Session() as http:
            http.trust_env = False
            client = _Client(http, self._addresses, self._pause, self.answers, self._done)
            with suppress(_Done):
                while not self._done.is_set():
                    self._live_once(client, next(self._numbers))

    def _live_once(self, client: "_Client", number: int) -> None:
        known = KnownSession(token_of(self._log_in(client, f"user-{number}")))
        self.sessions.append(known)
        for _ in range(self._refreshes):
            for _ in range(2):
                checked = client.ask("GET", "/check_session", token=known.token)
                if not checked.ok:
                    return  # `lost` asks once more
            refreshed = client.ask("POST", "/refresh", token=known.token)
            if not refreshed.ok:
                return
            known.token = token_of(refreshed)
            if self._done.is_set():
                return
        if number % _LOG_OUT_EVERY == 0:
            client.ask("POST", "/logout", token=known.token)
            known.ended = True

    def _log_in(self, client: "_Client", user: str) -> requests.Response:
        while True:
            granted = client.ask("POST", "/login", {"code": self._simulator.code(user)})
            # A login that was refused half way has spent the code: wx.login gives another one.
            if code_of(granted) != "code_used":
                return granted


class _Done(Exception):
    """The test is over, and nobody waits for a better answer."""


class _Client:
    """Sends one request after the other."""

    def __init__(
        self,
        http: requests.Session,
        addresses: Sequence[str],
        pause: float,
        answers: list[Answer],
        done: threading.Event,
    ) -> None:
        self._http = http
        self._addresses = addresses
        self._turn = count()
        self._pause = pause
        self._answers = answers
        self._done = done

    def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> requests.Response:
        """Send a request until it is not answered 503, and return the last answer."""
        bearer = {} if token is None else {"Authorization": f"Bearer {token}"}
        while True:
            sent = time.monotonic()
            answer = self._http.request(
                method,
                self._addresses[next(self._turn) % len(self._addresses)] + path,
                headers=bearer,
                json=body,
                timeout=_PATIENCE,
            )
            self._answers.append(
                Answer(path, answer.status_code, code_of(answer) or "", sent, time.monotonic())
            )
            time.sleep(self._pause)
            if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                return answer
            if self._done.is_set():
                raise _Done
