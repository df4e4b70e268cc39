"""How a writer of an SQLite file waits while another one writes."""

import random
import sqlite3
import time
from collections.abc import Callable

_LONGEST_WAIT = 10.0
_PAUSE = 0.01
_FEW_WRITERS = 8
MAX_BUSY_PAUSE = 1.25 * _PAUSE
"""The longest pause, in seconds, between two attempts while fewer than eight writers wait."""

_waiting: set[object] = set()


def retry_while_busy(action: Callable[[], object]) -> None:
    """Call `action`, and again for up to ten seconds while another writer has the file.

    SQLite's own busy handler asks less and less often, so with many writers the newcomers win and
    some starve. Here the writer that has waited longest asks most often. The more writers of this
    process wait, the less often each asks: otherwise they take the CPU from the one that writes.

    Raises:
        sqlite3.OperationalError: the file was busy for too long, or something else is wrong.
    """
    started, me = time.monotonic(), object()
    try:
        while True:
            try:
                action()
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - started
                busy = (
                    error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                )  # the low byte; the rest says of which kind
                if not busy or waited > _LONGEST_WAIT:
                    raise
                _waiting.add(me)
                # The pause grows with the crowd and shrinks with the wait; the factor keeps writers
                # that began together from asking together.
                pause = _PAUSE * max(1, len(_waiting) / _FEW_WRITERS) / (1 + 4 * waited)
                time.sleep(pause * (0.75 + random.random() / 2))  # noqa: S311
            else:
                return
    finally:
        _waiting.discard(me)
