"""Back ends of other people, in Python and in Node, that answer 401 as they like.

`/orders/<shape>` is for users; `/vip/<shape>` is 401 for every user, by the back end's own rule.
The shape is that of the 401.
"""

import json
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, Final, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import requests

from tests.support.service import Server

SHAPES: Final = {
    "active": ("application/json", '{"active": false}'),
    "error": ("application/json", '{"error": "unauthorized"}'),
    "code": ("application/json", '{"code": 401}'),
    "html": ("text/html", "<html><body>Please log in.</body></html>"),
    "empty": ("text/plain", ""),
}

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class Asking:
    """A bare WSGI application that asks wxsession itself whose session a token is."""

    def __init__(self, service: str, api_key: str) -> None:
        """Return one that asks there, by this key."""
        self._introspect = f"{service}/introspect"
        self._key = api_key

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        _, place, shape = environ["PATH_INFO"].split("/")
        token = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        bearer = {"Authorization": f"Bearer {self._key}"}
        body = {"token": token}
        claims = requests.post(self._introspect, body, headers=bearer, timeout=30).json()
        return _answer(start_response, place, shape, claims.get("sub"))


class Trusting:
    """An application that believes its proxy; `seen` is what it was sent last, header by header."""

    def __init__(self) -> None:
        """Return one that has seen nothing yet."""
        self.seen: dict[str, str] = {}
        self.body = b""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        self.seen = {
            name.removeprefix("HTTP_").replace("_", "-").title(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        self.body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        _, place, shape = environ["PATH_INFO"].split("/")
        return _answer(start_response, place, shape, self.seen.get("X-Wxsession-User"))


def _answer(
    start_response: StartResponse, place: str, shape: str, user: str | None
) -> Iterable[bytes]:
    if place == "broken":
        start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
        return [b"the shop is closed"]
    if user is None or place == "vip":
        kind, text = SHAPES[shape]
        start_response("401 Unauthorized", [("Content-Type", kind)])
        return [text.encode()]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"orders_of": user}).encode()]


class Serving:
    """A WSGI application served by a thread of the tests."""

    def __init__(self, application: Application) -> None:
        """Listen, and answer nothing yet."""
        self._server = make_server(
            "127.0.0.1", 0, application, server_class=_Threads, handler_class=_Silent
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Answer requests."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Threads(ThreadingMixIn, WSGIServer):
    """Many requests at once."""

    request_queue_size = 128


class _Silent(WSGIRequestHandler):
    """Log nothing."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Express(Server):
    """The same as `Asking`, written for Express."""

    alive = "/alive"

    def __init__(self, service: str, api_key: str) -> None:
        """Start nothing yet."""
        super().__init__({"SERVICE": service, "API_KEY": api_key})

    def command(self) -> list[str]:
        """Return how Node is called."""
        return ["node", "tests/clients/between/express.js", str(self.port)]
