"""A pool of connections that other processes need as well.

What a role may open is shared by all processes of a service. So a pool gives back what it did not
need for a while; and where the server refuses to open one more, it waits for one of its own.
"""

import time
from contextlib import suppress
from typing import Any

from sqlalchemy.pool import ConnectionPoolEntry, Pool, QueuePool
from sqlalchemy.util.queue import Empty

from wxsession.failures import is_refused_for_number

_TICKS = 8
_PAUSE = 0.1
_CAPPED_SECONDS = 1.0


def wait_for_another(pool: Pool, refusal: BaseException | None, deadline: float) -> bool:
    """Return whether to ask the pool again, after a wait if it has nothing that may come back.

    `refusal` is why the server opened no connection, `deadline` until when to ask (monotonic).
    """
    if not (isinstance(pool, SharingPool) and is_refused_for_number(refusal)):
        return False
    if time.monotonic() > deadline:
        return False
    if not pool.cap():
        time.sleep(_PAUSE)  # other processes have all of them
    return True


class SharingPool(QueuePool):
    """SQLAlchemy's pool, without connections that nobody needs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._capped_until = 0.0
        self._unused = 0
        self._ticks = 0

    def cap(self) -> bool:
        """Open no more for a moment, since the server refuses; return whether any is open."""
        if opened := self._overflow + self.size():
            self._capped_until = time.monotonic() + _CAPPED_SECONDS
        return opened > 0

    def _do_get(self) -> ConnectionPoolEntry:
        if (left := self._capped_until - time.monotonic()) > 0:
            with suppress(Empty):
                return self._pool.get(block=True, timeout=left)
        return super()._do_get()

    def tick(self) -> None:
        """Close, every eighth time, what was unused each time since; keep one."""
        self._unused = min(self._unused, self.checkedin()) if self._ticks else self.checkedin()
        self._ticks = (self._ticks + 1) % _TICKS
        if self._ticks == 0:
            self._close(self._unused - (self.checkedout() == 0))

    def _close(self, how_many: int) -> None:
        for _ in range(how_many):
            try:
                record = self._pool.get(block=False)
            except Empty:  # somebody needs them after all
                return
            record.close()
            self._dec_overflow()
