"""Limits on what one process does at once.

A thread that waits, for WeChat or for a processor, cannot check a session. So everything that
waits takes a place of one budget, which is a part of the threads. A call to WeChat and a password
hash are costly by themselves: each kind has a concurrency limit as well, with a queue.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from wxsession.errors import DatabaseUnavailable, Overloaded, WxSessionError

_TIMEOUT = 15.0


def logins_at_database(connections: int) -> "ConcurrencyLimit":
    """Return a limit on how many logins use the database at once, for one step of a login.

    A caller that waits two seconds for a connection is refused. A burst of logins waits in this
    queue instead: longer, in order, and without keeping refreshes from the connections.
    """
    most = max(1, connections * 3 // 4)
    return ConcurrencyLimit(most, timeout=_TIMEOUT, shared_errors=(DatabaseUnavailable,))


class Places:
    """A fixed number of places; a caller that finds none free is refused."""

    def __init__(self, count: int) -> None:
        self.count = max(1, count)
        """How many places there are."""
        self._free = [None] * self.count
        self._waiting = 0
        self._lock = threading.Lock()
        self._given_back = threading.Semaphore(0)

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self.count - len(self._free)

    def take(self) -> bool:
        """Return whether there was a free place; the caller has to give it back."""
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
        """Return whether there was a free place, or one became free within so many seconds."""
        end = time.monotonic() + seconds
        with self._lock:
            self._waiting += 1  # from now on `give_back` wakes us
        try:
            # Who is woken may find that somebody took the place first, and goes on waiting.
            while not self.take():
                left = end - time.monotonic()
                if left <= 0 or not self._given_back.acquire(timeout=left):
                    return False
            return True
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
    """Lets `limit` callers in at once; the others wait in a queue, `timeout` seconds at most.

    First come, first served: a place that becomes free goes to the first in the queue. An error of
    just a kind in `shared_errors`, and no narrower one, is raised to all in the queue as well: they
    would get it anyway.
    """

    def __init__(
        self, limit: int, *, timeout: float, shared_errors: tuple[type[WxSessionError], ...] = ()
    ) -> None:
        self._free = limit
        self._timeout = timeout
        self._shared_errors = shared_errors
        self._queue: deque[Future[None]] = deque()
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
        except self._shared_errors as error:
            if type(error) in self._shared_errors:  # one lost connection says nothing of the others
                with self._lock:
                    self._refuse_queue(type(error))
            raise
        finally:
            self._leave()

    @property
    def waiting(self) -> int:
        """How many callers wait for their turn."""
        return len(self._queue)

    def close(self, refusal: Callable[[], WxSessionError]) -> None:
        """Refuse new callers, and those in the queue, with this error; the others may finish."""
        with self._lock:
            self._refusal = refusal
            self._refuse_queue(refusal)

    def open(self) -> None:
        """Let callers in again after `close`."""
        with self._lock:
            self._refusal = None

    def _refuse_queue(self, refusal: Callable[[], WxSessionError]) -> None:
        while self._queue:
            turn = self._queue.popleft()
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
            self._queue.append(turn)
        try:
            turn.result(self._timeout)
        except TimeoutError:
            if turn.cancel():
                raise Overloaded from None
            turn.result()  # the place came in this very moment

    def _leave(self) -> None:
        with self._lock:
            while self._queue:
                turn = self._queue.popleft()
                if turn.set_running_or_notify_cancel():  # otherwise that caller has left the queue
                    turn.set_result(None)
                    return
            self._free += 1


def processors() -> int:
    """Return how many processors this process may use; the machine may have more."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
