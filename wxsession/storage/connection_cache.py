"""Connections that stay checked out of the pool, for whoever needs one for a moment.

To check a connection out and in takes 12 to 17 µs of CPU: 8 to 11 % of a check
(``python -m benchmarks.parts``). The pool still opens, renews and closes them.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import Connection, Engine, PoolProxiedConnection
from sqlalchemy import exc as sa

from wxsession.errors import Overloaded, WxSessionError
from wxsession.storage.failures import no_answer_in_time, translated
from wxsession.storage.pool import POOL_TIMEOUT_SECONDS, SharingPool, Unused, wait_for_another
from wxsession.storage.statements import Listener, Rows, Runner, Statement, Values, runner
from wxsession.storage.watchdog import Watchdog

MAX_IDLE = 4
_SHARE = 4
"""Of so many connections of the pool one may stay checked out: the others are for the rest."""

MAX_AGE_SECONDS = 60

_READ_ONLY_TRANSACTION = "25006"
_RUNNER = "wxsession.runner"


class CachedConnection:
    """A connection that stays checked out of the pool until `until` (monotonic)."""

    def __init__(
        self,
        engine: Engine,
        connection: PoolProxiedConnection,
        until: float,
        listeners: Sequence[Listener],
    ) -> None:
        self._engine = engine
        self.connection = connection
        self.driver: Any = connection.dbapi_connection
        self.until = until
        # Remembered for as long as the driver's connection lives: it knows what is prepared.
        known: Runner | None = connection.info.get(_RUNNER)
        if known is None:
            known = connection.info[_RUNNER] = runner(engine.dialect, self.driver, listeners)
        self.runner = known

    def core(self) -> Connection:
        """Return the connection as SQLAlchemy has it, in autocommit mode."""
        return Connection(self._engine, self.connection)


class ConnectionCache:
    """Lends connections of the pool, and keeps a few of them for the next caller.

    Those go back after `max_age` seconds, so that the pool can renew them when they are old, and
    when nobody needed them for a while. `pool_size` is how many connections the pool has.
    """

    def __init__(
        self,
        engine: Engine,
        watchdog: Watchdog,
        *,
        pool_size: int,
        max_age: float = MAX_AGE_SECONDS,
    ) -> None:
        self._engine = engine
        self._watchdog = watchdog
        self._max_idle = min(MAX_IDLE, pool_size // _SHARE)
        self._max_age = max_age
        self._driver: Any = engine.dialect.loaded_dbapi
        self._free: deque[CachedConnection] = deque()
        self._of_parent: deque[CachedConnection] = deque()
        self._unused = Unused()
        self._waiting = 0
        self._lock = threading.Lock()
        self.listeners: list[Listener] = []
        """Are told of each `Statement`; of others, SQLAlchemy's events tell."""

    @property
    def idle(self) -> int:
        """How many connections are kept that nobody uses."""
        return len(self._free)

    @contextmanager
    def one(self, until: float) -> Iterator[CachedConnection]:
        """Lend a connection to the block; cut it if the block still runs at `until` (monotonic).

        Raises:
            Overloaded: no connection was available in time, or it broke.
            NotReady: the schema is missing or too old.
        """
        cached = self._borrow(until)
        try:
            yield cached
        except BaseException as error:
            self._take_back_after(cached, error)
            raise
        self._take_back(cached)

    def run(self, statement: Statement, values: Values, until: float) -> Rows:
        """Return the rows of a statement; the same as with `one`, faster."""
        cached = self._borrow(until)
        try:
            result = cached.runner.run(statement, values)
        except BaseException as error:
            self._take_back_after(cached, error)
            raise
        self._take_back(cached)
        return result

    @property
    def _pool(self) -> SharingPool:
        return cast("SharingPool", self._engine.pool)  # another one after `forget`

    def _borrow(self, until: float) -> CachedConnection:
        cached = self._take_when_possible()
        self._watchdog.watch(cached.driver, until)
        return cached

    def _take_back(self, cached: CachedConnection) -> None:
        if self._watchdog.unwatch(cached.driver):
            self.give_back(cached)
        else:  # the answer came just before the watchdog cut the connection
            cached.connection.invalidate()
            cached.connection.close()

    def _take_back_after(self, cached: CachedConnection, error: BaseException) -> None:
        """Take a connection back, broken or whole; raise our own error for one of the driver's."""
        in_time = self._watchdog.unwatch(cached.driver)
        cause = error.orig if isinstance(error, sa.DBAPIError) else error
        broken = not in_time
        meaning: WxSessionError | None = None if in_time else no_answer_in_time()
        if in_time and isinstance(cause, self._driver.Error):
            broken = self._is_broken_after(cause, cached)
            meaning = translated(cause, broken=broken)
        # A KeyboardInterrupt or a worker's timeout may leave half an answer on it.
        if cached.connection.is_valid and (broken or not cached.runner.is_idle):
            cached.connection.invalidate()
        cached.connection.close()
        if broken:  # so are, after a restart of the database, all the others
            self.release()
            self._pool.close_unused()
        if meaning is not None:
            raise meaning from error

    def _is_broken_after(self, error: Any, cached: CachedConnection) -> bool:
        # A demoted primary still responds on the old connections; a new one finds the new primary.
        if getattr(error, "sqlstate", None) == _READ_ONLY_TRANSACTION:
            return True
        return self._engine.dialect.is_disconnect(error, cached.driver, None)

    def _take_when_possible(self) -> CachedConnection:
        deadline = None
        while True:
            try:
                return self.take()
            except sa.TimeoutError:
                raise Overloaded from None
            except self._driver.Error as error:
                deadline = deadline or time.monotonic() + POOL_TIMEOUT_SECONDS
                if not wait_for_another(self._pool, error, deadline):
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
        with self._lock:
            self._waiting += 1
        try:
            connection = self._pool.connect()
        finally:
            with self._lock:
                self._waiting -= 1
        return CachedConnection(self._engine, connection, now + self._max_age, self.listeners)

    def give_back(self, cached: CachedConnection) -> None:
        """Keep it for the next caller, or return it to the pool if there are enough."""
        # Whoever waits for the pool does not see what is kept here.
        if not self._waiting and len(self._free) < self._max_idle:
            self._free.append(cached)
        else:
            cached.connection.close()

    def tick(self) -> None:
        """Return what was unused for a while to the pool, and let the pool close what it can."""
        self._leave(self._unused.look(len(self._free), looks=self._pool.looks()))
        self._pool.tick()

    def release(self) -> None:
        """Return all of them to the pool."""
        self._leave(len(self._free))

    def forget(self) -> None:
        """Use none of them in a forked child.

        They are the parent's. They are not closed, either: in the child a lock of theirs may never
        be released.
        """
        self._free, self._of_parent = deque(), self._free
        self._waiting, self._lock = 0, threading.Lock()
        self._engine.dispose(close=False)

    def _leave(self, how_many: int) -> None:
        for _ in range(how_many):
            try:
                self._free.popleft().connection.close()
            except IndexError:  # others took them
                return
