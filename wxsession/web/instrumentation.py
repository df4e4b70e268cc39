"""What is seen of a request from outside: its id, and its line in the access log."""

import logging
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, request

from wxsession.common.current_request import current_request, facts_of, forget_request
from wxsession.common.logs import ACCESS_LOG
from wxsession.common.metrics import NUMBERS, REQUESTS
from wxsession.operations.prometheus import Exporter
from wxsession.web.request import ROUTE, client_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_Headers = list[tuple[str, str]]
_NO_HEADERS: _Headers = []
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Anybody can invent others, and each would be a series of its own."""

_log = logging.getLogger(ACCESS_LOG)


class Instrumentation:
    """A WSGI application before all others, which gives each request an id.

    `trusts_proxy` says that a proxy of ours is in front, whose ``X-Request-ID`` is taken. With an
    `exporter` requests are measured, and the first one starts it.
    """

    def __init__(
        self,
        application: "WSGIApplication",
        *,
        trusts_proxy: bool,
        access_log: bool,
        exporter: Exporter | None = None,
    ) -> None:
        self.application = application
        self._logs = access_log
        self._counts = exporter is not None
        self._watches = access_log or exporter is not None
        self._trusts_proxy = trusts_proxy
        self._exporter = exporter

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Pass the request on."""
        current_request.set(facts_of(environ, trusts_proxy=self._trusts_proxy))
        try:
            if self._watches:
                return self._watch(environ, start_response)
            body = self.application(environ, start_response)
        except BaseException:
            forget_request()
            raise
        if type(body) is list:  # a check: nothing of ours happens any more
            forget_request()
            return body
        return _Body(body, forget_request)

    def _watch(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Pass the request on, and see how it ends."""
        if self._exporter is not None and not self._exporter.is_started:
            self._exporter.start()
        status, sent = "500", _NO_HEADERS

        def start(line: str, headers: _Headers, exc_info: Any = None) -> Any:
            nonlocal status, sent
            status, sent = line, headers
            return start_response(line, headers, exc_info)

        begun = perf_counter()
        body = self.application(environ, start)
        if type(body) is list:
            self._end(environ, status[:3], sent, begun)
            return body
        return _Body(body, lambda: self._end(environ, status[:3], sent, begun))

    def _end(
        self, environ: "WSGIEnvironment", status: str, headers: _Headers, begun: float
    ) -> None:
        """Count the request, and write its line."""
        seconds = perf_counter() - begun
        if self._counts:
            method = environ["REQUEST_METHOD"]
            known = method if method in _METHODS else "_OTHER"
            NUMBERS.observe(REQUESTS, (known, environ.get(ROUTE, ""), status), seconds)
        if self._logs:
            _write_line(environ, status, headers, seconds)
        forget_request()


def note_routes(app: Flask) -> None:
    """Let the application behind `Instrumentation` say which of its routes a request has."""

    def note() -> None:
        if request.url_rule is not None:
            request.environ[ROUTE] = request.url_rule.rule

    app.before_request(note)


def identify(app: Flask, *, trusts_proxy: bool, exporter: Exporter | None) -> None:
    """Give the requests of a host application their ids: they are not behind `Instrumentation`.

    The first one starts the `exporter`; how long requests take is for the host to measure.
    """

    def begin() -> None:
        if exporter is not None and not exporter.is_started:
            exporter.start()
        current_request.set(facts_of(request.environ, trusts_proxy=trusts_proxy))

    app.before_request(begin)
    app.teardown_request(lambda _error: forget_request())


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


def _write_line(environ: "WSGIEnvironment", status: str, headers: _Headers, seconds: float) -> None:
    """Write a request's line of the access log."""
    facts = current_request.get()
    lengths = (int(value) for name, value in headers if name == "Content-Length")
    client = client_of(Request(environ, populate_request=False))
    method, route = environ["REQUEST_METHOD"], environ.get(ROUTE)
    fields: dict[str, object] = {
        "request_id": facts.request_id if facts else None,
        "method": method,
        "route": route,
        "status": int(status),
        "ms": round(seconds * 1000, 2),
        "bytes": 0 if method == "HEAD" else next(lengths, 0),
        "address": client.address,
        "user_agent": client.user_agent,
        "user": facts and facts.user_id and str(facts.user_id),
        "session": facts and facts.session_id and str(facts.session_id),
        "appid": facts and facts.appid,
    }
    _log.info("%s %s %s", method, route, status, extra={"fields": fields})
