"""Leases: a row that one worker claims, and renews for as long as it does what the row stands for.

A worker that is killed leaves nothing to clean up: its lease expires, and another worker claims
the row. Leases are short, so that nobody waits for a dead worker; and they are renewed, because
WeChat may take longer.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Insert, or_

from wxsession.errors import Overloaded
from wxsession.storage.database import Database, upsert

LEASE = timedelta(seconds=2.5)
"""How long a lease lives after its holder died, or lost the database."""

_INTERVAL = 0.5
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.2

Claim = TypeVar("Claim")


def claiming(
    database: Database, holder: Column[UUID], *others: Column[Any], is_free: ColumnElement[bool]
) -> Insert:
    """Return an INSERT that claims a row: it is new, or nobody has a lease on it.

    It writes the holder and the `others`, and returns the key of the row, or no row if the claim
    failed. The caller adds the values.
    """
    claim = upsert(database, holder.table)
    is_ours = holder == claim.excluded[holder.name]  # already, when a broken connection hid that
    return claim.on_conflict_do_update(
        index_elements=[*holder.table.primary_key],
        set_={column.name: claim.excluded[column.name] for column in (holder, *others)},
        where=or_(is_free, is_ours),
    ).returning(*holder.table.primary_key)


class Leases:
    """Renews leases every `interval` seconds, in a thread that ends when there is none to renew.

    A lease of somebody else is waited for, `patience` seconds at most. The thread starts with the
    first lease, so a server that forks its workers loses none; and it is a daemon, so that no
    process waits for it.
    """

    def __init__(
        self,
        *,
        patience: float = 0,
        interval: float = _INTERVAL,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._patience = patience
        self._interval = interval
        self._sleep = sleep
        self._lock = threading.Lock()
        self._under_way: dict[Callable[[frozenset[Any]], None], set[Any]] = {}
        self._thread: threading.Thread | None = None

    def attempts(self) -> Iterator[None]:
        """Yield once for each attempt to claim what somebody else may have a lease on.

        Sleeps after each attempt, twice as long each time, for `patience` seconds in all.
        """
        waited, pause = 0.0, _FIRST_PAUSE
        while waited <= self._patience:
            yield
            self._sleep(pause)
            waited, pause = waited + pause, min(pause * 2, _LONGEST_PAUSE)

    @contextmanager
    def renewed(self, renew: Callable[[frozenset[Claim]], None], claim: Claim) -> Iterator[None]:
        """Renew a claim for as long as the block runs.

        `renew` gets all the claims that have the same `renew`, and renews them in one statement.

        Raises:
            Overloaded: there are too many threads for one that renews.
        """
        try:
            with self._lock:
                self._under_way.setdefault(renew, set()).add(claim)
                self._ensure_running()
            yield
        finally:
            with self._lock:
                self._under_way[renew].discard(claim)

    def _ensure_running(self) -> None:
        if self._thread is None or not self._thread.is_alive():  # as after a fork
            self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:
                raise Overloaded from error

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
                # A claim that is new since the last round is not due yet, and most are done by
                # the next one: they never cost a statement.
                if due := claims & before.get(renew, frozenset()):
                    with suppress(Overloaded):  # a lease outlives a few failed renewals
                        renew(due)
            before = now
