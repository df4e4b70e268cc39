"""A watchdog over connections: it ends what waits for the database longer than it may.

A server that is frozen, or behind a network that drops packets, says nothing, and libpq waits for
it as long as the kernel does. A socket that is shut down from another thread ends that wait at
once, in libpq's own calls and in psycopg's cursors alike.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

TICK = 0.25
"""Seconds between two looks; a wait ends up to this much late."""

_TICKS_WITHOUT_WORK = 20
"""For how many looks the thread stays when there is nothing to look after."""


class Overdue(Exception):
    """The database did not answer in time, and the connection was cut."""


class Watchdog:
    """Looks after the connections of one process that are in use.

    Its thread runs while there is something to look after.
    """

    def __init__(self, *, ticks_without_work: int = _TICKS_WITHOUT_WORK) -> None:
        self._on_tick: Callable[[], None] = lambda: None
        self._ticks_without_work = ticks_without_work
        self._until: dict[Any, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def at_each_look(self, action: Callable[[], None]) -> None:
        """Call `action` as well each time that the thread looks."""
        self._on_tick = action

    def watch(self, connection: Any, until: float) -> None:
        """Cut a connection of psycopg's if it is still in use at `until` (monotonic seconds)."""
        self._until[connection] = until
        if self._thread is None:  # after the line above, see `_is_idle`
            self._start()

    def unwatch(self, connection: Any) -> bool:
        """Return whether the connection was not cut; one that was cut has to be closed."""
        if self._until.pop(connection, None) is not None:
            return True
        with self._lock:  # it is being cut; closed before that is over, its number could be reused
            return False

    @contextmanager
    def watching(self, connection: Any, until: float) -> Iterator[None]:
        """Use a connection inside, until `until`.

        Raises:
            Overdue: it was cut; what was done on it may have been done or not.
        """
        self.watch(connection, until)
        try:
            yield
        except BaseException as error:
            if not self.unwatch(connection) and isinstance(error, Exception):
                raise Overdue from error
            raise
        if not self.unwatch(connection):
            raise Overdue

    def forget(self) -> None:
        """Look after nothing in a forked child: threads and connections are its parent's."""
        self._until, self._lock, self._thread = {}, threading.Lock(), None

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="wxsession", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        idle = 0
        while True:
            time.sleep(TICK)
            self._cut_overdue(time.monotonic())
            self._on_tick()
            idle = 0 if self._until else idle + 1
            if idle > self._ticks_without_work and self._is_idle():
                return

    def _is_idle(self) -> bool:
        """Return whether the thread may end; who begins to be watched now starts another."""
        mine, self._thread = self._thread, None
        if not self._until:  # after the line above: one of the two threads sees the other's work
            return True
        with self._lock:
            if self._thread is None:
                self._thread = mine
            return self._thread is not mine

    def _cut_overdue(self, now: float) -> None:
        for connection, until in list(self._until.items()):
            if until <= now:
                with self._lock:
                    if self._until.pop(connection, None) is not None:
                        _cut(connection)


class Unwatched(Watchdog):
    """For connections that nobody else can keep waiting: those to a file."""

    def watch(self, connection: Any, until: float) -> None:
        """Let it take its time."""

    def unwatch(self, connection: Any) -> bool:  # noqa: ARG002 - as a watchdog has it
        """Return that it was not cut."""
        return True


def _cut(connection: Any) -> None:
    with suppress(Exception):  # it has no socket any more
        wire = socket.socket(fileno=connection.pgconn.socket)
        try:
            wire.shutdown(socket.SHUT_RDWR)
        finally:
            wire.detach()  # its number is libpq's to close
