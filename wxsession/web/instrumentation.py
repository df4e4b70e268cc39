"""What is seen of a request from outside: its id, and its line in the access log."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from flask import Flask, Request, request

from wxsession.common.current_request import (
    RequestFacts,
    current_request,
    facts_of,
    forget_request,
)
from wxsession.common.logs import ACCESS_LOG
from wxsession.common.metrics import NUMBERS, REQUESTS
from wxsession.operations.prometheus import Exporter
from wxsession.web.request import ROUTE, client_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Anybody can invent others, and each would be a series of its own."""
_WITHOUT_BODY = frozenset({204, 304})

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
        self._watches = access_log or exporter is not None
        self._trusts_proxy = trusts_proxy
        self._exporter = exporter

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Pass the request on."""
        facts = facts_of(environ, trusts_proxy=self._trusts_proxy)
        current_request.set(facts)
        if self._exporter is not None and not self._exporter.is_started:
            self._exporter.start()
        begun = perf_counter()
        try:
            body = self.application(environ, start_response)
        except BaseException:
            forget_request()
            raise
        end = partial(self._end, environ, facts, begun) if self._watches else forget_request
        if type(body) is list:  # a check: nothing of ours happens any more
            end()
            return body
        return _Body(body, end)

    def _end(self, environ: "WSGIEnvironment", facts: RequestFacts, begun: float) -> None:
        """Count the request, and write its line."""
        seconds = perf_counter() - begun
        if self._exporter is not None:
            method = environ["REQUEST_METHOD"]
            known = method if method in _METHODS else "_OTHER"
            labels = known, environ.get(ROUTE, ""), str(facts.status)
            NUMBERS.observe(REQUESTS, labels, seconds)
        if self._logs:
            _write_line(environ, facts, seconds)
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


def _write_line(environ: "WSGIEnvironment", facts: RequestFacts, seconds: float) -> None:
    """Write a request's line of the access log."""
    client = client_of(Request(environ, populate_request=False))
    method, route = environ["REQUEST_METHOD"], environ.get(ROUTE)
    has_body = method != "HEAD" and facts.status not in _WITHOUT_BODY
    fields: dict[str, object] = {
        "request_id": facts.request_id,
        "method": method,
        "route": route,
        "status": facts.status,
        "ms": round(seconds * 1000, 2),
        "bytes": facts.length if has_body else 0,
        "address": client.address,
        "user_agent": client.user_agent,
        "user": facts.user_id and str(facts.user_id),
        "session": facts.session_id and str(facts.session_id),
        "appid": facts.appid,
    }
    _log.info("%s %s %s", method, route, facts.status, extra={"fields": fields})
