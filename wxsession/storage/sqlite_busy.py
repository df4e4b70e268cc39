"""How a writer of an SQLite file waits for the one that is at work."""

import random
import sqlite3
import time
from collections.abc import Callable

_LONGEST_WAIT = 10.0
_PAUSE = 0.01
_FEW_WRITERS = 8
MAX_BUSY_PAUSE = 1.25 * _PAUSE
"""For how many seconds one of a few writers of a busy SQLite file does not ask again, at most."""

_waiting: set[object] = set()


def retry_while_busy(action: Callable[[], object]) -> None:
    """Do it, again and again while another writer is at work.

    SQLite's own waiting asks less and less often, so under many writers the newcomers win and
    somebody starves. Here whoever has waited longest asks most often; and the more wait in this
    process the less often each of them asks, or they would take the CPU from the one that writes.
    """
    started, me = time.monotonic(), object()
    try:
        while True:
            try:
                action()
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - started
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # of whatever kind
                if not busy or waited > _LONGEST_WAIT:
                    raise
                _waiting.add(me)
                pause = _PAUSE * max(1, len(_waiting) / _FEW_WRITERS) / (1 + 4 * waited)
                time.sleep(pause * (0.75 + random.random() / 2))  # noqa: S311
            else:
                return
    finally:
        _waiting.discard(me)
