"""A bound on how much of one costly thing goes on at once in one process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from wxsession.errors import Overloaded


class Slots:
    """So many at once, so many waiting for one of them, and no more.

    A WeChat that hangs, or a flood of passwords to be hashed, would else take every thread of a
    worker, and nobody could check a session. Waiting is bounded for the same reason: who waits
    holds a thread too. Without `waiting`, half as many may wait as may be at it.
    """

    def __init__(self, limit: int, *, patience: float, waiting: int | None = None) -> None:
        self._free = threading.Semaphore(limit)
        self._waiting = threading.Semaphore(limit // 2 if waiting is None else waiting)
        self._patience = patience

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot; wait for one no longer than the patience, in seconds.

        Raises:
            Overloaded: none came free in time, or too many wait already.
        """
        if not self._free.acquire(blocking=False):
            self._wait()
        try:
            yield
        finally:
            self._free.release()

    def _wait(self) -> None:
        if not self._waiting.acquire(blocking=False):
            raise Overloaded
        try:
            if not self._free.acquire(timeout=self._patience):
                raise Overloaded
        finally:
            self._waiting.release()
