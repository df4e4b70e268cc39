"""Short leases on what a worker does, renewed for as long as it does it.

A worker that is killed leaves nothing to clean up: its leases run out, and somebody else does it.
Short ones, so that nobody waits for a dead worker; renewed ones, because WeChat may take longer.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

from wxsession.errors import Overloaded

LEASE = timedelta(seconds=2.5)
"""How long the holder of a lease may be dead, or without the database, before it is over."""

_INTERVAL = 0.5

Claim = TypeVar("Claim")


class Leases:
    """Renews every `interval` seconds what is under way, in a thread that ends when nothing is.

    There is no thread before the first lease, so none is lost when a server forks its workers;
    and it is a daemon, so that no process waits for it.
    """

    def __init__(self, *, interval: float = _INTERVAL) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._under_way: dict[Callable[[frozenset[Any]], None], set[Any]] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def renewed(self, renew: Callable[[frozenset[Claim]], None], claim: Claim) -> Iterator[None]:
        """Call `renew` for a claim again and again while the block runs, with others of its kind.

        It renews all of them in one statement.
        """
        with self._lock:
            self._under_way.setdefault(renew, set()).add(claim)
            if self._thread is None or not self._thread.is_alive():  # as after a fork
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._under_way[renew].discard(claim)

    def _run(self) -> None:
        pause = threading.Event()
        before: dict[Callable[[frozenset[Any]], None], frozenset[Any]] = {}
        while not pause.wait(self._interval):
            with self._lock:
                now = {renew: frozenset(claims) for renew, claims in self._under_way.items()}
                if not any(now.values()):
                    self._thread = None
                    return
            for renew, claims in now.items():
                # What began since the last time has time; and most of it is done by the next.
                if due := claims & before.get(renew, frozenset()):
                    with suppress(Overloaded):  # there is time for a few more tries
                        renew(due)
            before = now
