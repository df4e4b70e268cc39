"""A connection pool that leaves connections to other processes.

All processes of a service share the number of connections that their role may open. So the pool
closes what it did not need for a while; and when the server refuses to open one more, it waits for
one of its own.
"""

import time
from contextlib import suppress
from typing import Any

from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.util.queue import Empty

from wxsession.storage.failures import is_refused_for_number

POOL_TIMEOUT_SECONDS = 2
"""For how long a caller waits for a connection."""

_TICKS = 40  # ten seconds: to open a connection costs the database more than to keep one
_PAUSE = 0.1
_CAPPED_SECONDS = 1.0
_SCARCE_SECONDS = 60.0


class Unused:
    """The smallest number of unused things over a series of looks."""

    def __init__(self) -> None:
        self._least = 0
        self._looks = 0

    def look(self, unused: int, *, looks: int) -> int:
        """Return how many were unused at every one of the last `looks` looks, and 0 in between."""
        self._least = min(self._least, unused) if self._looks else unused
        self._looks += 1
        if self._looks < looks:
            return 0
        self._looks = 0
        return self._least


def wait_for_another(pool: "SharingPool", refusal: BaseException | None, deadline: float) -> bool:
    """Return whether to ask the pool again; before that, wait if the pool has no connection.

    `refusal` is why the server opened no connection, `deadline` when to stop asking (monotonic).
    """
    if not is_refused_for_number(refusal) or time.monotonic() > deadline:
        return False
    if not pool.cap():
        time.sleep(_PAUSE)  # other processes have all of them
    return True


class SharingPool(QueuePool):
    """SQLAlchemy's pool, which closes the connections that nobody needs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._capped_until = 0.0
        self._scarce_until = 0.0
        self._unused = Unused()

    def cap(self) -> bool:
        """Open no more for a second, because the server refuses; return whether any is open."""
        now = time.monotonic()
        self._scarce_until = now + _SCARCE_SECONDS
        if opened := self._overflow + self.size():
            self._capped_until = now + _CAPPED_SECONDS
        return opened > 0

    def looks(self) -> int:
        """Return after how many looks to close what is unused: one while connections are scarce."""
        return 1 if time.monotonic() < self._scarce_until else _TICKS

    def _do_get(self) -> ConnectionPoolEntry:
        # QueuePool opens a connection if none is free; while that is refused, wait for a free one.
        if (left := self._capped_until - time.monotonic()) > 0:
            with suppress(Empty):
                return self._pool.get(block=True, timeout=left)
        return super()._do_get()

    def tick(self) -> None:
        """Close what was unused for a while, but keep one connection."""
        unused = self._unused.look(self.checkedin(), looks=self.looks())
        self._close(unused - (self.checkedout() == 0))

    def close_unused(self) -> None:
        """Close every connection that nobody uses."""
        self._close(self.checkedin())

    def _close(self, how_many: int) -> None:
        for _ in range(how_many):
            try:
                record = self._pool.get(block=False)
            except Empty:  # others took them
                return
            record.close()
            self._dec_overflow()
