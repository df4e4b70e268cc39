"""The work of a benchmark, sent from Python: enough to see that it works, too slow to measure."""

import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Final

from benchmarks.load import CONNECTIONS, Reading, Work, ask, percentile

_PATIENCE: Final = 30.0


class PlainLoad:
    """A load generator of threads, each with a connection that it keeps."""

    def run(
        self, port: int, work: Work, *, seconds: float, connections: int = CONNECTIONS
    ) -> Reading:
        """Return what was seen."""
        turn = _Turn(work)
        begun = time.monotonic()
        with ThreadPoolExecutor(connections) as pool:
            running = [
                pool.submit(_keep_asking, port, turn, begun + seconds) for _ in range(connections)
            ]
            seen = [answer for future in running for answer in future.result()]
        lasted = time.monotonic() - begun
        times = sorted(milliseconds for milliseconds, _ in seen)
        return Reading(
            requests=len(seen),
            seconds=lasted,
            p50=percentile(times, 50),
            p99=percentile(times, 99),
            failed=sum(not good for _, good in seen),
        )


class _Turn:
    """Whose request is next."""

    def __init__(self, work: Work) -> None:
        self._messages = work.messages()
        self._in_order = cycle(self._messages) if work.once else None
        self._lock = threading.Lock()

    def next(self) -> bytes:
        if self._in_order is None:
            return random.choice(self._messages)  # noqa: S311
        with self._lock:
            return next(self._in_order)


def _keep_asking(port: int, turn: _Turn, until: float) -> list[tuple[float, bool]]:
    """Return for every answer how many milliseconds it took, and whether it was a good one."""
    seen: list[tuple[float, bool]] = []
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection:
        while not seen or time.monotonic() < until:
            begun = time.monotonic()
            status, _ = ask(connection, turn.next())
            seen.append((1000 * (time.monotonic() - begun), status < 400))
    return seen
