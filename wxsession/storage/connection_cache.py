"""Connections that stay checked out of the pool, for statements that stand by themselves.

To check a connection out and in takes 12 to 17 µs of CPU: 8 to 11 % of a check
(``python -m benchmarks.parts``). The plain twin is `Database.statement`: one connection for the
caller alone, watched, and the errors of the driver translated.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy import exc as sa

from wxsession.errors import Disconnected, Overloaded
from wxsession.storage.failures import no_answer_in_time, translated
from wxsession.storage.pool import POOL_TIMEOUT_SECONDS, SharingPool, Unused, wait_for_another
from wxsession.storage.watchdog import Watchdog

T = TypeVar("T")

MAX_IDLE = 4
_SHARE = 4
"""Of so many connections of the pool one may stay checked out: the others are for the rest."""

MAX_AGE_SECONDS = 60

AT_ONCE_SECONDS = 1.0
"""What broke within that time was broken before it was asked."""


class CachedConnection:
    """A connection that stays checked out of the pool until `until` (monotonic)."""

    __slots__ = ("connection", "driver", "info", "until")

    def __init__(self, connection: PoolProxiedConnection, until: float) -> None:
        self.connection = connection
        self.driver: Any = connection.dbapi_connection
        self.info = connection.info
        """What is remembered about the driver's connection, for as long as that lives."""
        self.until = until


class ConnectionCache:
    """A few connections of the pool, kept for single statements.

    They go back after `max_age` seconds, so that the pool can renew them when they are old, and
    when nobody needed them for a while. `timeout` is in seconds, for one statement; `pool_size` is
    how many connections the pool has.
    """

    def __init__(
        self,
        engine: Engine,
        watchdog: Watchdog,
        *,
        timeout: float,
        pool_size: int,
        max_age: float = MAX_AGE_SECONDS,
    ) -> None:
        self._engine = engine
        self._watchdog = watchdog
        self._timeout = timeout
        self._pool_size = pool_size
        self._max_idle = min(MAX_IDLE, pool_size // _SHARE)
        self._max_age = max_age
        self._driver: Any = engine.dialect.loaded_dbapi
        self._free: deque[CachedConnection] = deque()
        self._of_parent: deque[CachedConnection] = deque()
        self._unused = Unused()

    def run(self, ask: Callable[[CachedConnection], T]) -> T:
        """Return what `ask` gets from the database with a connection for itself.

        It may be called several times, so it only reads.

        Raises:
            Overloaded: no connection was available in time, or it broke.
            NotReady: the schema is missing or too old.
        """
        begun = time.monotonic()
        until = begun + self._timeout
        # After a restart of the database every pooled connection is broken; each is tried once.
        for _ in range(self._pool_size):
            try:
                return self._run_once(ask, until)
            except Disconnected:
                if time.monotonic() - begun > AT_ONCE_SECONDS:
                    raise
        return self._run_once(ask, until)

    def _run_once(self, ask: Callable[[CachedConnection], T], until: float) -> T:
        cached = self._take_when_possible()
        self._watchdog.watch(cached.driver, until)
        try:
            result = ask(cached)
        except BaseException as error:
            in_time = self._watchdog.unwatch(cached.driver)
            raise self._failure(cached, error, in_time=in_time) from error
        if self._watchdog.unwatch(cached.driver):
            self.give_back(cached)
        else:  # the answer came just before the watchdog cut the connection
            cached.connection.invalidate()
            cached.connection.close()
        return result

    def _failure(
        self, cached: CachedConnection, error: BaseException, *, in_time: bool
    ) -> BaseException:
        """Return what to raise; the connection goes back to the pool, broken or whole."""
        # An error of the driver leaves the connection usable, unless it says otherwise. Anything
        # else (a KeyboardInterrupt, a worker's timeout) may leave half an answer on it.
        broken, meaning = True, None
        if isinstance(error, self._driver.Error):
            broken = self._engine.dialect.is_disconnect(error, cached.connection, None)
            meaning = translated(error, broken=broken) if in_time else no_answer_in_time()
        if broken or not in_time:
            cached.connection.invalidate()
        cached.connection.close()
        return meaning or error

    def _take_when_possible(self) -> CachedConnection:
        deadline = time.monotonic() + POOL_TIMEOUT_SECONDS
        while True:
            try:
                return self.take()
            except sa.TimeoutError:
                raise Overloaded from None
            except self._driver.Error as error:
                if not wait_for_another(self._engine.pool, error, deadline):
                    raise translated(error, broken=False) or error from error

    def take(self) -> CachedConnection:
        """Return a connection for the caller alone, who gives it back or closes it."""
        now = time.monotonic()
        try:
            cached = self._free.pop()
        except IndexError:
            pass
        else:
            if now < cached.until:
                return cached
            cached.connection.close()
        return CachedConnection(self._engine.pool.connect(), now + self._max_age)

    def give_back(self, cached: CachedConnection) -> None:
        """Keep it for the next caller, or return it to the pool if there are enough."""
        if len(self._free) < self._max_idle:
            self._free.append(cached)
        else:
            cached.connection.close()

    def tick(self) -> None:
        """Return what was unused for a while to the pool, and let the pool close what it can."""
        pool = self._engine.pool
        if isinstance(pool, SharingPool):
            self._leave(self._unused.look(len(self._free), looks=pool.looks()))
            pool.tick()

    def release(self) -> None:
        """Return all of them to the pool."""
        self._leave(len(self._free))

    def forget(self) -> None:
        """Use none of them in a forked child.

        They are the parent's. They are not closed, either: in the child a lock of theirs may never
        be released.
        """
        self._free, self._of_parent = deque(), self._free
        self._engine.dispose(close=False)

    def _leave(self, how_many: int) -> None:
        for _ in range(how_many):
            try:
                self._free.popleft().connection.close()
            except IndexError:  # others took them
                return
