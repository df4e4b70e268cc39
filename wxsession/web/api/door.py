"""The door: what a process cannot serve any more is refused in front of everything.

A server whose threads are all stuck answers nobody, and whoever asks whether it is alive kills it.
So the last few threads let nobody in who could get stuck as well: they refuse, which takes no
time, and say that the process is alive.
"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from wxsession.errors import Overloaded
from wxsession.limits import Places
from wxsession.web import problems

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

FEWEST_THREADS = 16
"""One thread of so many lets nobody in; with fewer, that one would be missed by everybody."""

_STUCK = 0.1
"""After how many seconds without one that begins or ends the requests under way are stuck."""


class Door:
    """A WSGI application that lets requests in while there are threads; `alive` always."""

    def __init__(self, application: "WSGIApplication", alive: str, *, threads: int) -> None:
        self.application = application
        self._alive = alive
        self._places = Places(threads - max(1, threads // FEWEST_THREADS))
        self._moved = float("-inf")

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Let in, or refuse."""
        if not self._places.take():
            if environ["PATH_INFO"] == self._alive:
                return self.application(environ, start_response)
            if not self._wait():
                return problems.from_error(Overloaded())(environ, start_response)
        self._moved = time.monotonic()
        try:
            return self.application(environ, start_response)
        finally:  # no answer of ours is a stream: what is left is for the server to send
            self._moved = time.monotonic()
            self._places.give_back()

    def _wait(self) -> bool:
        """Return whether a place came free before everything was stuck.

        A server that is busy with more clients than it has threads is no reason to refuse anyone.
        """
        while (left := self._moved + _STUCK - time.monotonic()) > 0:
            if self._places.take_within(left):
                return True
        return False
