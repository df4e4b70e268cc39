"""Requests to a WSGI application in this process."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from benchmarks.load import Request


def environ_of(method: str, path: str, request: Request) -> dict[str, Any]:
    """Return what a server would hand to an application."""
    body = request.body.encode()
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "CONTENT_TYPE": "application/json" if body else "",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_HOST": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        **{f"HTTP_{name.upper()}": value for name, value in request.headers.items()},
    }


def send(application: Any, environ: Mapping[str, Any]) -> None:
    """Send a request, and read the whole answer.

    Raises:
        RuntimeError: the answer is an error.
    """
    statuses: list[str] = []

    def start(status: str, _headers: object, _error: object = None) -> None:
        statuses.append(status)

    parts = application(dict(environ), start)
    body = b"".join(parts)
    if close := getattr(parts, "close", None):
        close()
    if not statuses[-1].startswith("2"):
        raise RuntimeError(f"{statuses[-1]}: {body[:200]!r}")
