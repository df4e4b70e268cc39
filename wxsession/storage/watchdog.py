"""A watchdog for connections: it ends waits for the database that exceed their time limit.

A server that is frozen, or behind a network that drops packets, sends nothing, and libpq waits
for it as long as the kernel does. Shutting the socket down from another thread ends that wait at
once, in libpq's own functions and in psycopg's cursors.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

TICK = 0.25
"""Seconds between two ticks; a wait may end this much late."""

_TICKS_WITHOUT_WORK = 20
"""The number of ticks without a watched connection after which the thread ends."""


_log = logging.getLogger(__name__)


class Overdue(Exception):
    """The database did not respond in time, and the connection was cut."""


class Watchdog:
    """Watches the connections of one process that are in use.

    Its thread runs while there are any.
    """

    def __init__(self, *, ticks_without_work: int = _TICKS_WITHOUT_WORK) -> None:
        self._on_tick: Callable[[], None] = lambda: None
        self._ticks_without_work = ticks_without_work
        self._until: dict[Any, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def at_each_look(self, action: Callable[[], None]) -> None:
        """Call `action` at each tick as well."""
        self._on_tick = action

    def watch(self, connection: Any, until: float) -> None:
        """Cut a psycopg connection if it is still watched at `until` (monotonic seconds)."""
        self._until[connection] = until
        if self._thread is None:  # after the line above, see `_is_idle`
            self._start()

    def unwatch(self, connection: Any) -> bool:
        """Return whether the connection was not cut; one that was cut has to be closed."""
        if self._until.pop(connection, None) is not None:
            return True
        # Wait for a cut under way: if the connection were closed first, the cut could hit a new
        # socket with the same file descriptor.
        with self._lock:
            return False

    @contextmanager
    def watching(self, connection: Any, until: float) -> Iterator[None]:
        """Watch a connection while the block runs.

        Raises:
            Overdue: the connection was cut; its last statement may have been executed or not.
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
        """Watch nothing in a forked child: the thread and the connections are its parent's."""
        self._until, self._lock, self._thread = {}, threading.Lock(), None

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="wxsession", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # too many threads: the next connection tries again
                    _log.warning("the database is not watched: %s", error)
                else:
                    self._thread = thread

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
        """Return whether the thread may end; a connection watched from now on starts another."""
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
    """A watchdog that watches nothing, for a file: no server can keep its connections waiting."""

    def watch(self, connection: Any, until: float) -> None:
        """Do nothing."""

    def unwatch(self, connection: Any) -> bool:  # noqa: ARG002 - as a watchdog has it
        """Return True: it was not cut."""
        return True


def _cut(connection: Any) -> None:
    with suppress(Exception):  # the connection may be closed already
        connected = socket.socket(fileno=connection.pgconn.socket)
        try:
            connected.shutdown(socket.SHUT_RDWR)
        finally:
            connected.detach()  # libpq closes the file descriptor
