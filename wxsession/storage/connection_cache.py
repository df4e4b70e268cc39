"""Connections that stay checked out of the pool, for statements that stand by themselves."""

import time
from collections import deque

from sqlalchemy import Engine, PoolProxiedConnection

from wxsession.storage.pool import SharingPool, Unused

MAX_IDLE = 4
MAX_AGE_SECONDS = 60


class CachedConnection:
    """A connection that was checked out of the pool and stays so, until `until` (monotonic)."""

    __slots__ = ("connection", "driver", "info", "until")

    def __init__(self, connection: PoolProxiedConnection, until: float) -> None:
        self.connection = connection
        self.driver = connection.dbapi_connection
        self.info = connection.info
        self.until = until


class ConnectionCache:
    """A few connections of the pool, at hand for whoever wants one for a single statement.

    To check a connection out and in takes the pool as long as PostgreSQL takes for a row. So they
    go back only after `seconds`, for the pool to renew them when they are old; or when nobody
    needed them for a while.
    """

    def __init__(self, engine: Engine, *, seconds: float = MAX_AGE_SECONDS) -> None:
        self._engine = engine
        self._seconds = seconds
        self._free: deque[CachedConnection] = deque()
        self._of_parent: deque[CachedConnection] = deque()
        self._unused = Unused()

    def take(self) -> CachedConnection:
        """Return a connection for the caller alone, who gives it back or closes it."""
        now = time.monotonic()
        try:
            held = self._free.pop()
        except IndexError:
            pass
        else:
            if now < held.until:
                return held
            held.connection.close()
        return CachedConnection(self._engine.pool.connect(), now + self._seconds)

    def give_back(self, held: CachedConnection) -> None:
        """Keep it for the next one, or leave it to the pool if there are enough."""
        if len(self._free) < MAX_IDLE:
            self._free.append(held)
        else:
            held.connection.close()

    def tick(self) -> None:
        """Leave to the pool what was unused for a while; it closes what it does not need."""
        pool = self._engine.pool
        if isinstance(pool, SharingPool):
            self._leave(self._unused.look(len(self._free), looks=pool.looks()))
            pool.tick()

    def release(self) -> None:
        """Leave all of them to the pool."""
        self._leave(len(self._free))

    def forget(self) -> None:
        """Use none of them in a forked child; left alone, since a lock may be held for ever."""
        self._free, self._of_parent = deque(), self._free
        self._engine.dispose(close=False)

    def _leave(self, how_many: int) -> None:
        for _ in range(how_many):
            try:
                self._free.popleft().connection.close()
            except IndexError:  # somebody needs them after all
                return
