"""WeChat in process, as a transport adapter of `requests`."""

import io
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import (
    HTTPConnectionPool,
    HTTPHeaderDict,
    HTTPResponse,
    Retry,
    Timeout,
    connection_from_url,
)
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)
from werkzeug.test import create_environ, run_wsgi_app

from .http import create_flask_app
from .wechat import WeChat

_CLIENT_IP: Final = "127.0.0.1"


def wechat_transport(
    wechat: WeChat, *, real_time: bool = False, max_retries: int | Retry = 0
) -> requests.Session:
    """Return a session that sends every request to this WeChat, without a socket."""
    session = requests.Session()
    session.trust_env = False  # neither proxies nor .netrc: nothing leaves the process
    adapter = WeChatAdapter(wechat, real_time=real_time, max_retries=max_retries)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class WeChatAdapter(HTTPAdapter):
    """Sends requests to a WeChat in this process.

    Responses, streams and exceptions are those of a real connection. So the message of a refused
    one has the URL, and that has the app's secret; and `max_retries` retries what it would there.

    Nobody waits: a request times out as soon as the waits of its response add up to the read
    timeout. With `real_time` the waits are real, and each has the whole read timeout, as on a
    socket: this is how to test that a client has a deadline of its own.
    """

    def __init__(
        self, wechat: WeChat, *, real_time: bool = False, max_retries: int | Retry = 0
    ) -> None:
        """Send requests to this WeChat."""
        super().__init__(max_retries=max_retries)
        self._app = create_flask_app(wechat)
        self._real_time = real_time

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002, ARG002 - a session reads what is not streamed
        timeout: float | tuple[float, float] | tuple[float, None] | Timeout | None = None,
        *_unused: Any,
        **_ignored: Any,
    ) -> requests.Response:
        """Send a request and return the response, its body unread. TLS and proxies are ignored.

        Raises:
            requests.ReadTimeout: no byte within the read timeout.
            requests.ConnectionError: refused, once more than it is retried; or reset.
        """
        waiting = _Waiting(_read_timeout(timeout), real_time=self._real_time)
        pool = connection_from_url(request.url or "")  # for the messages: it connects to nothing
        try:
            return self.build_response(request, self._send_with_retries(request, waiting, pool))
        except MaxRetryError as refused:
            raise requests.ConnectionError(refused, request=request) from refused
        except ConnectionResetError as reset:
            aborted = ProtocolError("Connection aborted.", reset)
            raise requests.ConnectionError(aborted, request=request) from reset
        except TimeoutError as late:
            message = f"Read timed out. (read timeout={waiting.limit})"
            timed_out = ReadTimeoutError(pool, request.path_url, message)
            raise requests.ReadTimeout(timed_out, request=request) from late

    def _send_with_retries(
        self, request: requests.PreparedRequest, waiting: "_Waiting", pool: HTTPConnectionPool
    ) -> HTTPResponse:
        retries = self.max_retries
        while True:
            try:
                return self._send_once(request, waiting)
            except ConnectionRefusedError as refusal:
                message = f"Failed to establish a new connection: {refusal}"
                kind = HTTPSConnection if pool.scheme == "https" else HTTPConnection
                reason = NewConnectionError(kind(pool.host, pool.port), message)
                reason.__cause__ = refusal
                retries = retries.increment(
                    request.method, request.path_url, error=reason, _pool=pool
                )

    def _send_once(self, request: requests.PreparedRequest, waiting: "_Waiting") -> HTTPResponse:
        url = urlsplit(request.url or "")
        environ = create_environ(
            path=str(url.path),
            base_url=f"{url.scheme}://{url.netloc}",
            query_string=str(url.query),
            method=request.method or "GET",
            headers=dict(request.headers),
            data=_joined(request.body),
            environ_overrides={
                "REMOTE_ADDR": _CLIENT_IP,
                "wxsession.simulator.sleep": waiting.sleep,
            },
        )
        # Werkzeug adds a length that the client did not send, and drops one of 0.
        if "Content-Length" in request.headers:
            environ["CONTENT_LENGTH"] = request.headers["Content-Length"]
        else:
            environ.pop("CONTENT_LENGTH", None)
            environ["wsgi.input_terminated"] = True
        # It returns with the first chunk of the body: waits and errors before that happen here.
        chunks, status, headers = run_wsgi_app(self._app, environ)
        code, _, reason = status.partition(" ")
        return HTTPResponse(
            io.BufferedReader(_Body(iter(chunks))),
            headers=HTTPHeaderDict(list(headers)),
            status=int(code),
            reason=reason,
            preload_content=False,
            decode_content=False,
            request_method=request.method,
            request_url=request.path_url,
        )


class _Waiting:
    """How long a client has waited for the next byte, and how long it will."""

    def __init__(self, limit: float | None, *, real_time: bool) -> None:
        self.limit = limit
        self._real_time = real_time
        self._waited = 0.0

    def sleep(self, seconds: float) -> None:
        """Wait, or pretend to.

        Raises:
            TimeoutError: the read timeout is over.
        """
        self._waited = seconds if self._real_time else self._waited + seconds
        late = self.limit is not None and self._waited >= self.limit
        if self._real_time:
            time.sleep(self.limit if late and self.limit is not None else seconds)
        if late:
            raise TimeoutError("timed out")


class _Body(io.RawIOBase):
    """The chunks of a body as a file: a read returns only what has arrived."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                self.close()  # as http.client does at the end; urllib3 reads until it sees this
                return 0
            self._rest = chunk
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _read_timeout(timeout: float | tuple[float, float | None] | Timeout | None) -> float | None:
    if isinstance(timeout, tuple):
        timeout = timeout[1]
    if isinstance(timeout, Timeout):
        read = timeout.read_timeout
        return read if isinstance(read, int | float) else None
    return timeout


def _joined(body: bytes | str | Iterable[bytes] | None) -> bytes | str | None:
    """Return a body in one piece, as the server has it when all chunks have arrived."""
    return body if body is None or isinstance(body, bytes | str) else b"".join(body)
