"""What is seen of a request from outside: its id, and its line in the access log."""

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, request

from wxsession.logs import (
    ACCESS_LOG,
    RequestFacts,
    current_request,
    new_request_id,
)
from wxsession.web.request import ROUTE, client_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_GIVEN = "HTTP_X_REQUEST_ID"
_SAFE = re.compile(r"[A-Za-z0-9._:/+=~-]{8,128}", re.ASCII)

_log = logging.getLogger(ACCESS_LOG)


class Instrumentation:
    """A WSGI application before all others, which gives each request an id.

    `trusts_proxy` says that a proxy of ours is in front, whose ``X-Request-ID`` is taken.
    """

    def __init__(
        self, application: "WSGIApplication", *, trusts_proxy: bool, access_log: bool
    ) -> None:
        self.application = application
        self._trusts_proxy = trusts_proxy
        self._access_log = access_log

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Pass the request on."""
        current_request.set(_facts_of(environ, trusts_proxy=self._trusts_proxy))
        end = _forget
        if self._access_log:
            seen = _Seen(environ, start_response)
            start_response, end = seen.start, seen.end
        try:
            body = self.application(environ, start_response)
        except BaseException:
            _forget()
            raise
        if end is _forget and type(body) is list:  # a check: nothing of ours happens any more
            _forget()
            return body
        return _Body(body, end)


def note_routes(app: Flask) -> None:
    """Let the application behind `Instrumentation` say which of its routes a request has."""

    def note() -> None:
        if request.url_rule is not None:
            request.environ[ROUTE] = request.url_rule.rule

    app.before_request(note)


def identify(app: Flask, *, trusts_proxy: bool) -> None:
    """Give the requests of a host application their ids: they are not behind `Instrumentation`."""

    def begin() -> None:
        current_request.set(_facts_of(request.environ, trusts_proxy=trusts_proxy))

    app.before_request(begin)
    app.teardown_request(lambda _error: _forget())


def _facts_of(environ: "WSGIEnvironment", *, trusts_proxy: bool) -> RequestFacts:
    if trusts_proxy and _SAFE.fullmatch(given := environ.get(_GIVEN, "")):
        return RequestFacts(given)
    return RequestFacts(new_request_id())


def _forget() -> None:
    current_request.set(None)  # the thread goes on to other requests


class _Body:
    """The body of a response; the server closes it when it has sent it."""

    __slots__ = ("_body", "_end")

    def __init__(self, body: Iterable[bytes], end: Callable[[], None]) -> None:
        self._body = body
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """Close what it is made of, and end the request."""
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._end()


class _Seen:
    """One request that is watched from its beginning to its end."""

    def __init__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> None:
        self._environ = environ
        self._start_response = start_response
        self._begun = time.perf_counter()
        self._status = ""
        self._length = 0

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """Remember what is sent, and send it."""
        self._status = status[:3]
        lengths = (int(value) for name, value in headers if name == "Content-Length")
        self._length = next(lengths, 0)
        return self._start_response(status, headers, exc_info)

    def end(self) -> None:
        """Write the line."""
        facts, environ = current_request.get(), self._environ
        _forget()
        client = client_of(Request(environ, populate_request=False))
        method, route = environ["REQUEST_METHOD"], environ.get(ROUTE)
        fields: dict[str, object] = {
            "request_id": facts.request_id if facts else None,
            "method": method,
            "route": route,
            "status": int(self._status or 500),
            "ms": round((time.perf_counter() - self._begun) * 1000, 2),
            "bytes": 0 if method == "HEAD" else self._length,
            "address": client.address,
            "user_agent": client.user_agent,
            "user": facts and facts.user_id and str(facts.user_id),
            "session": facts and facts.session_id and str(facts.session_id),
            "appid": facts and facts.appid,
        }
        _log.info("%s %s %s", method, route, self._status, extra={"fields": fields})
