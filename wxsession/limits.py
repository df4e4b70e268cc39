"""Limits on what goes on at once in one process.

A thread that waits, for WeChat or for a processor, cannot check a session. So everything that
waits has a place in one budget, which is a part of the threads. What is costly by itself, a call of
WeChat or a hash, has a concurrency limit as well, and waits in line for it.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from wxsession.errors import DatabaseUnavailable, Overloaded, WxSessionError

_PATIENCE = 15.0


def logins_at_database(connections: int) -> "ConcurrencyLimit":
    """Return a limit on how many logins are at the database at once, for one step of a login.

    A process has so many connections, and a caller that waits two seconds for one is refused. A
    burst waits in front of them instead: longer, in its order, and without holding up refreshes.
    """
    most = max(1, connections * 3 // 4)
    return ConcurrencyLimit(most, patience=_PATIENCE, told_to_all=(DatabaseUnavailable,))


class Places:
    """A fixed number of places, for a caller that is refused when there is no free one."""

    def __init__(self, count: int) -> None:
        self._free = [None] * max(1, count)
        self._waiting = 0
        self._lock = threading.Lock()
        self._given_back = threading.Semaphore(0)

    def take(self) -> bool:
        """Return whether there was a free place; it has to be given back."""
        try:
            self._free.pop()  # `pop` and `append` of a list are atomic: no lock that could wait
        except IndexError:
            return False
        return True

    def give_back(self) -> None:
        """Make a place free again."""
        self._free.append(None)
        if self._waiting:
            self._given_back.release()

    def take_within(self, seconds: float) -> bool:
        """Return whether there was a free place, or one came free in so many seconds."""
        with self._lock:
            self._waiting += 1  # from now on `give_back` says so
        try:
            return self.take() or (self._given_back.acquire(timeout=seconds) and self.take())
        finally:
            with self._lock:
                self._waiting -= 1

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a place.

        Raises:
            Overloaded: all of them are taken.
        """
        if not self.take():
            raise Overloaded
        try:
            yield
        finally:
            self.give_back()


class ConcurrencyLimit:
    """So many at once; a later caller waits in line, for `patience` seconds at most.

    First come, first served: a free place is handed to the first in line, and nobody overtakes it.
    An error of a kind in `told_to_all` ends the wait of those in line: it would be theirs as well.
    """

    def __init__(
        self, limit: int, *, patience: float, told_to_all: tuple[type[WxSessionError], ...] = ()
    ) -> None:
        self._free = limit
        self._patience = patience
        self._told_to_all = told_to_all
        self._line: deque[Future[None]] = deque()
        self._lock = threading.Lock()
        self._refusal: Callable[[], WxSessionError] | None = None

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a place, as soon as it is the caller's turn.

        Raises:
            Overloaded: it did not come in time.
            WxSessionError: what `close` was given.
        """
        self._enter()
        try:
            yield
        except self._told_to_all as error:
            with self._lock:
                self._refuse_line(type(error))
            raise
        finally:
            self._leave()

    def close(self, refusal: Callable[[], WxSessionError]) -> None:
        """Refuse every new caller, and those in line, with this error; who has a place keeps it."""
        with self._lock:
            self._refusal = refusal
            self._refuse_line(refusal)

    def open(self) -> None:
        """Take back `close`."""
        with self._lock:
            self._refusal = None

    def _refuse_line(self, refusal: Callable[[], WxSessionError]) -> None:
        while self._line:
            turn = self._line.popleft()
            if turn.set_running_or_notify_cancel():
                turn.set_exception(refusal())

    def _enter(self) -> None:
        with self._lock:
            if self._refusal is not None:
                raise self._refusal()
            if self._free:
                self._free -= 1
                return
            turn: Future[None] = Future()
            self._line.append(turn)
        try:
            turn.result(self._patience)
        except TimeoutError:
            if turn.cancel():
                raise Overloaded from None
            turn.result()  # it came in this very moment

    def _leave(self) -> None:
        with self._lock:
            while self._line:
                turn = self._line.popleft()
                if turn.set_running_or_notify_cancel():  # otherwise it has left the line
                    turn.set_result(None)
                    return
            self._free += 1


def processors() -> int:
    """Return how many processors this process may use, which can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
