"""Real servers for tests: the service behind a server, and a WeChat to ask over HTTP."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import requests
from requests.adapters import HTTPAdapter

from tests.support.settings import APPS, PATIENT, environment
from tests.support.wsgi_servers import SHIPPED, WsgiServer

ROOT: Final = Path(__file__).resolve().parents[2]

_PATIENCE: Final = 60.0
_MOST_CONNECTIONS: Final = 640

# The server's parent is this program, and not the test process. Its standard input ends when the
# test process ends, however that ends: then it kills the server and all its workers, and removes
# the directory. Each byte it reads is the number of a signal to pass on. The server leads a
# process group of its own, because a worker that hangs outlives a master that is killed.
_SUPERVISOR: Final = """
import os, shutil, signal, subprocess, sys, threading
directory, *command = sys.argv[1:]
server = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
orphaned = threading.Event()
def send(number):
    if number == signal.SIGKILL and server.poll() is None:
        os.killpg(server.pid, number)
    else:
        server.send_signal(number)
def obey():
    while number := os.read(0, 1):
        send(number[0])
    orphaned.set()
    send(signal.SIGKILL)
threading.Thread(target=obey, daemon=True).start()
status = server.wait()
if orphaned.is_set():
    shutil.rmtree(directory, ignore_errors=True)
sys.exit(status if status >= 0 else 128 - status)
"""


class ServerFailed(Exception):
    """A server did not start, or does not end; the message has the end of its log."""


class Server:
    """A program that serves HTTP on 127.0.0.1, and ends with the process that started it.

    `port`, `url`, `directory` and `log` are known from the beginning. `http` keeps connections.
    """

    def __init__(self, environment: Mapping[str, str], *, folder: Path = ROOT) -> None:
        """Start nothing yet; the program sees `environment` and none of our own settings."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory = Path(tempfile.gettempdir(), f"server-{secrets.token_hex(8)}").resolve()
        self.log = self.directory / "log"
        self.http = _pooled()
        self._environment = plain_environment() | dict(environment)
        self._folder = folder
        self._supervisor: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return how the program is called; every kind of server has its own way."""
        raise NotImplementedError

    alive = "/"
    """What answers 200 as soon as the program serves."""

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    def start(self) -> None:
        """Return when the server answers.

        Raises:
            ServerFailed: it does not within a minute; nothing is left behind.
        """
        self.launch()
        self.await_answer()

    def launch(self) -> None:
        """Start the program and do not wait for it."""
        self.directory.mkdir(mode=0o700)
        supervisor = (sys.executable, "-I", "-S", "-c", _SUPERVISOR, str(self.directory))
        with self.log.open("ab") as log:
            self._supervisor = subprocess.Popen(
                [*supervisor, *self.command()],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is for the tests; the server is stopped by them
            )

    def await_answer(self) -> None:
        """Return when the launched program serves.

        Raises:
            ServerFailed: it does not within a minute; nothing is left behind.
        """
        try:
            self._await_answer()
        except BaseException:
            self.stop()
            raise

    def answers(self) -> bool:
        """Return whether the program serves."""
        with suppress(requests.RequestException):
            return self.http.get(self.url + self.alive, timeout=2).ok
        return False

    def stop(self) -> None:
        """End the server, whatever it is doing, and remove its directory."""
        self.http.close()
        if self._supervisor is not None:
            with self._supervisor as supervisor:
                self.send_signal(signal.SIGKILL)
                supervisor.wait(_PATIENCE)
            self._supervisor = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the program; SIGKILL goes to its workers too."""
        if self._supervisor and self._supervisor.poll() is None and self._supervisor.stdin:
            with suppress(BrokenPipeError):
                self._supervisor.stdin.write(bytes([number]))

    def wait(self) -> int:
        """Return the exit status of the program, once it has ended.

        Raises:
            ServerFailed: it does not end within a minute.
        """
        assert self._supervisor is not None
        try:
            return self._supervisor.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise ServerFailed(f"it does not end:\n{self._tail()}") from None

    def _await_answer(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while self._is_running() and time.monotonic() < deadline:
            if self.answers():
                return
            time.sleep(0.02)
        raise ServerFailed(f"it does not serve:\n{self._tail()}")

    def _is_running(self) -> bool:
        return self._supervisor is not None and self._supervisor.poll() is None

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


class Simulator(Server):
    """WeChat, in a process of its own."""

    alive = "/simulator/exchanges"

    def __init__(self, **settings: object) -> None:
        """Start nothing yet; its apps may be other ones."""
        super().__init__(environment("", **settings))

    def command(self) -> list[str]:
        """Return how the simulator is called: by a server that takes hundreds of calls at once."""
        gunicorn = [sys.executable, "-m", "gunicorn", "-c", "/dev/null", "--no-control-socket"]
        many = ["--worker-class", "gthread", "--threads", "640", "--keep-alive", "600"]
        bound = ["--bind", f"127.0.0.1:{self.port}", "--log-level", "warning"]
        return [*gunicorn, *many, *bound, "wxsession.simulator:create_app()"]

    def code(self, user: str, appid: str = next(iter(APPS))) -> str:
        """Return a code of wx.login, for the first of our apps or for this one."""
        code: str = self._post("login", user=user, appid=appid)["code"]
        return code

    def bind_open_platform(self, appid: str) -> None:
        """Return a unionid in this app from now on."""
        self._post("bind_open_platform", appid=appid)

    def answer_after(self, seconds: float) -> None:
        """Hold back every later answer for so long."""
        self._post("answer_after", seconds=seconds)

    def fail_next(self, fault: str | int, times: int = 1) -> None:
        """Let the next calls fail."""
        self._post("fail_next", fault=fault, times=times)

    def exchanges(self) -> list[str]:
        """Return the codes that it was asked about."""
        codes: list[str] = self.http.get(self.url + self.alive, timeout=_PATIENCE).json()["codes"]
        return codes

    def _post(self, path: str, **body: object) -> dict[str, Any]:
        answer = self.http.post(f"{self.url}/simulator/{path}", json=body, timeout=_PATIENCE)
        answer.raise_for_status()
        reply: dict[str, Any] = answer.json()
        return reply


class Service(Server):
    """wxsession behind gunicorn, or behind another server."""

    alive = "/healthz"

    def __init__(
        self,
        database_url: str,
        *,
        server: WsgiServer = SHIPPED,
        wechat_url: str = "http://127.0.0.1:9",
        module: str = "wsgi:app",
        **settings: object,
    ) -> None:
        """Start nothing yet; without `wechat_url` WeChat is down."""
        settings = {**PATIENT, "wechat_url": wechat_url, **server.settings, **settings}
        super().__init__(environment(database_url, **settings))
        self._server = server
        self._module = module

    def command(self) -> list[str]:
        """Return how the server is called."""
        return self._server.command(self.port, self._module)

    def send(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
    ) -> requests.Response:
        """Send a request and return the answer, whatever it is."""
        bearer = {"Authorization": f"Bearer {token}"} if token is not None else {}
        return self.http.request(
            method,
            self.url + path,
            headers={**bearer, **(headers or {})},
            json=json,
            timeout=_PATIENCE,
        )

    def log_in(
        self, code: str, *, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Log in by a code, presenting a session to be replaced if there is one."""
        return self.send("POST", "/login", json={"code": code}, token=token, headers=headers)

    def check(self, token: str) -> requests.Response:
        """Ask whether a session is good."""
        return self.send("GET", "/check_session", token=token)

    def refresh(self, token: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        """Ask for the next token."""
        return self.send("POST", "/refresh", token=token, headers=headers)

    def log_out(self, token: str) -> requests.Response:
        """End a session."""
        return self.send("POST", "/logout", token=token)

    def workers(self) -> list[int]:
        """Return the process ids of all workers that were ever started, the newest last."""
        started = r"(?:Booting worker|Spawning worker-\d+) with (?:pid|PID): (\d+)"
        return [int(pid) for pid in re.findall(started, self._log())]

    def lines(self) -> list[str]:
        """Return what the server has logged so far."""
        return self._log().splitlines()

    def _log(self) -> str:
        return self.log.read_text(errors="replace")


def plain_environment() -> dict[str, str]:
    """Return our own environment without what would change a server."""
    ours = ("WXSESSION_", "GUNICORN_", "GRANIAN_", "FLASK_", "WERKZEUG_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def code_of(answer: requests.Response) -> str | None:
    """Return the code of a problem, having seen that it has the form of one; None for a success."""
    if answer.ok:
        return None
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    code: str = body["code"]
    return code


def token_of(answer: requests.Response) -> str:
    """Return the token that a login or a refresh was answered with."""
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["session_token"]
    return token


def free_port() -> int:
    """Return a port on which nothing listens, out of reach of outgoing connections."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _pooled() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", HTTPAdapter(pool_maxsize=_MOST_CONNECTIONS))
    return session
