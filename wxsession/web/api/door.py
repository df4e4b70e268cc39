"""The door: requests that a process cannot serve any more are refused before anything else.

A server whose threads are all stuck responds to nothing, so its supervisor takes it for dead and
kills it. Therefore the last few threads let in no request that could get stuck as well: they
refuse, which takes no time, and still respond that the process is alive.
"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from wxsession.common.limits import Places
from wxsession.errors import Overloaded
from wxsession.web import problems

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

FEWEST_THREADS = 16
"""One thread in so many lets nothing in; with fewer threads, that one would be missed."""

_STUCK = 0.1
"""Seconds without a request that begins or ends, after which those under way are stuck."""


class Door:
    """A WSGI application that lets requests in while there are threads, and `alive` always."""

    def __init__(self, application: "WSGIApplication", alive: str, *, threads: int) -> None:
        self.application = application
        self._alive = alive
        self._places = Places(threads - max(1, threads // FEWEST_THREADS))
        self._moved = float("-inf")

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Let the request in, or refuse it."""
        if not self._places.take():
            if environ["PATH_INFO"] == self._alive:
                return self.application(environ, start_response)
            if not self._wait():
                refusal = problems.from_error(Overloaded(), environ.get("HTTP_ACCEPT_LANGUAGE", ""))
                return refusal(environ, start_response)
        self._moved = time.monotonic()
        try:
            return self.application(environ, start_response)
        finally:  # no response of ours is a stream: the WSGI server sends the rest
            self._moved = time.monotonic()
            self._places.give_back()

    def _wait(self) -> bool:
        """Return whether a place came free before everything was stuck.

        More clients than threads are no reason to refuse, as long as requests begin and end.
        """
        while (left := self._moved + _STUCK - time.monotonic()) > 0:
            if self._places.take_within(left):
                return True
        return False
