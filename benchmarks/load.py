"""Load: connections that are kept, on each of them one request after the other."""

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPResponse
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from benchmarks.machine import LOAD_CORE, on_core

CONNECTIONS: Final = 16

_SCRIPT: Final = Path(__file__).with_name("wrk.lua")
_TIMEOUT: Final = 30.0


@dataclass(frozen=True)
class Request:
    """What differs from one request to the next: the token in a header, the code in a body."""

    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass(frozen=True)
class Work:
    """What is sent to a server: drawn at random, or, if each counts `once`, in their order."""

    method: str
    path: str
    requests: Sequence[Request] = (Request(),)
    once: bool = False

    def messages(self) -> list[bytes]:
        """Return the requests as they go over the wire."""
        return [self._message(request) for request in self.requests]

    def _message(self, request: Request) -> bytes:
        headers = {"Host": "127.0.0.1"}
        if request.body:
            length = str(len(request.body.encode()))
            headers |= {"Content-Type": "application/json", "Content-Length": length}
        headers |= request.headers
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        return ("\r\n".join([*lines, "", ""]) + request.body).encode()


def asking(path: str, requests: Sequence[Request]) -> Callable[[], Work]:
    """Return the `work` of a target: GET, with one of the requests at random."""
    return lambda: Work("GET", path, requests)


def each_once(path: str, requests: Sequence[Request], count: int) -> Callable[[], Work]:
    """Return the `work` of a target: POST, with the next `count` of the requests every time."""
    left = iter(requests)
    return lambda: Work("POST", path, list(islice(left, count)), once=True)


@dataclass(frozen=True)
class Reading:
    """What a load generator saw; the percentiles are in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    failed: int = 0
    unanswered: int = 0
    """How many more were under way when the time was up; the server works for them all the same."""

    @property
    def begun(self) -> int:
        """How many requests the server had to work for."""
        return self.requests + self.unanswered

    @property
    def per_second(self) -> float:
        """The rate of the answers."""
        return self.requests / self.seconds


class Load(Protocol):
    """Something that sends work to a port of 127.0.0.1 for so many seconds."""

    def run(
        self, port: int, work: Work, *, seconds: float, connections: int = CONNECTIONS
    ) -> Reading:
        """Return what was seen."""


class Wrk:
    """The load generator of Debian's package of this name: one thread, on the load's core."""

    def run(
        self, port: int, work: Work, *, seconds: float, connections: int = CONNECTIONS
    ) -> Reading:
        """Return what was seen; wrk counts whole seconds."""
        with tempfile.NamedTemporaryFile(prefix="requests-") as file, on_core(LOAD_CORE):
            file.write(b"\0".join(work.messages()))
            file.flush()
            whole = max(1, round(seconds))
            done = subprocess.run(
                [
                    *("wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "10s"),
                    *("-s", str(_SCRIPT), f"http://127.0.0.1:{port}{work.path}"),
                ],
                env={
                    **os.environ,
                    "BENCH_REQUESTS": file.name,
                    "BENCH_ONCE": str(int(work.once)),
                },
                capture_output=True,
                text=True,
                check=True,
                timeout=whole + _TIMEOUT,
            )
        return Reading(**json.loads(done.stdout.splitlines()[-1]), unanswered=connections)


def ask(connection: socket.socket, message: bytes) -> tuple[int, bytes]:
    """Send a request on a kept connection; return the status and the body of the answer."""
    connection.sendall(message)
    answer = HTTPResponse(connection)
    answer.begin()
    with answer:
        return answer.status, answer.read()


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return a percentile of what is in order already; 0 of nothing."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
