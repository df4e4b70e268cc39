"""Wrong passwords, counted per account and per address.

The counters are in the database, so that all workers count together, and each failure is one
atomic statement. A counter begins with the first failure and is over after the window, whatever
comes in between: who goes on guessing does not keep the owner out any longer. A name counts
whether or not somebody has it, so that its lock tells nothing. Logins by WeChat code do not pass
here at all.
"""

import hmac
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, delete, select

from wxsession.addresses import network_of
from wxsession.db import Database, upsert
from wxsession.errors import BadCredentials, TooManyAttempts
from wxsession.keys import SecretKeys
from wxsession.models import failed_attempts

WINDOW = timedelta(minutes=15)
FAILURES_PER_ACCOUNT = 10
FAILURES_PER_ADDRESS = 100  # a whole office, or a carrier's NAT, may stand behind it


@dataclass(frozen=True, slots=True)
class _Counter:
    key_hash: bytes
    limit: int


class Throttle:
    """Lets nobody guess passwords for long."""

    def __init__(self, database: Database, keys: SecretKeys, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._key = keys.derive("throttle")[-1]
        self._clock = clock

    @contextmanager
    def watching(self, username: str, address: str | None) -> Iterator[None]:
        """Let a password be tried inside; a `BadCredentials` out of it counts as a failure.

        Raises:
            TooManyAttempts: before, if it must not be tried; or after, if it was right but other
                attempts at the same time used up what was allowed: parallel guesses gain nothing.
        """
        account = self._counter("account", username, FAILURES_PER_ACCOUNT)
        counters = [account]
        if address is not None:
            counters.append(self._counter("address", network_of(address), FAILURES_PER_ADDRESS))
        self._ensure_open(counters)
        try:
            yield
        except BadCredentials:
            self._count(counters)
            raise
        if account.key_hash in self._ensure_open(counters):
            self._forget(account)

    def _ensure_open(self, counters: list[_Counter]) -> set[bytes]:
        """Return which counters have counted something, if none of them is full."""
        now = self._clock()
        limits = {counter.key_hash: counter.limit for counter in counters}
        query = select(failed_attempts).where(
            failed_attempts.c.key_hash.in_(limits), failed_attempts.c.expires_at > now
        )
        with self._database.statement() as connection:
            rows = connection.execute(query).all()
        full = [row for row in rows if row.failures >= limits[bytes(row.key_hash)]]
        if full:
            last = max(full, key=lambda row: row.expires_at)
            raise TooManyAttempts(
                retry_after=max(1, math.ceil((last.expires_at - now).total_seconds())),
                limit=limits[bytes(last.key_hash)],
                window=int(WINDOW.total_seconds()),
            )
        return {bytes(row.key_hash) for row in rows}

    def _count(self, counters: list[_Counter]) -> None:
        now = self._clock()
        over = failed_attempts.c.expires_at <= now
        rows = [
            {"key_hash": key_hash, "failures": 1, "expires_at": now + WINDOW}
            # In one order everywhere: two statements never wait for each other.
            for key_hash in sorted(counter.key_hash for counter in counters)
        ]
        with self._database.statement() as connection:
            counting = upsert(self._database, failed_attempts).values(rows)
            counting = counting.on_conflict_do_update(
                index_elements=["key_hash"],
                set_={
                    "failures": case((over, 1), else_=failed_attempts.c.failures + 1),
                    "expires_at": case((over, now + WINDOW), else_=failed_attempts.c.expires_at),
                },
            )
            connection.execute(counting)

    def _forget(self, counter: _Counter) -> None:
        with self._database.statement() as connection:
            connection.execute(
                delete(failed_attempts).where(failed_attempts.c.key_hash == counter.key_hash)
            )

    def _counter(self, kind: str, value: str, limit: int) -> _Counter:
        # Keyed, because what was typed as a name may be a password.
        return _Counter(hmac.digest(self._key, f"{kind}\0{value}".encode(), "sha256"), limit)
