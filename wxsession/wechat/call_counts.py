"""What WeChat answered, hour by hour and app by app, and how long that took.

Each process counts in memory, and adds what it has counted to the rows of the hour at most once in
ten seconds, right after a call: there is no thread for it, and no check and hardly any login does
more than before. A process that is killed takes the last seconds with it.
"""

import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import case, func

from wxsession.common.clock import Clock, Timing
from wxsession.errors import NotReady, Overloaded
from wxsession.storage.database import Database, upsert
from wxsession.storage.tables import LONGEST_CALL, LONGEST_OUTCOME, wechat_counts, wechat_states
from wxsession.wechat.client import OK, Attempt

BOUNDS: Final = (10, 25, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 1500, 2500, 5000, 10_000)
"""The upper bounds of the buckets, in milliseconds."""
OPEN_END: Final = 60_000
"""In place of the bound that the last bucket does not have."""

_WRITE_EVERY: Final = 10.0
_MOST_KEPT: Final = 10_000
"""How many rows wait in memory while the database is away; what comes then is not counted."""


class _Key(NamedTuple):
    hour: datetime
    appid: str
    call: str
    outcome: str
    within_milliseconds: int


class CallCounts:
    """Counts the attempts to ask WeChat, and writes the counts down."""

    def __init__(self, database: Database, clock: Clock, *, timing: Timing = time) -> None:
        self._database = database
        self._clock = clock
        self._timing = timing
        self._lock = threading.Lock()
        self._written_at = float("-inf")
        self._counts: dict[_Key, list[int]] = defaultdict(lambda: [0, 0])
        self._states: dict[str, dict[str, Any]] = {}

    def add(self, attempt: Attempt) -> None:
        """Count an attempt; if it is time, write down what was counted. It never fails."""
        now, milliseconds = self._clock(), round(attempt.seconds * 1000)
        key = _Key(
            hour_of(now),
            attempt.appid,
            attempt.call[:LONGEST_CALL],
            attempt.outcome[:LONGEST_OUTCOME],
            (*BOUNDS, OPEN_END)[bisect_left(BOUNDS, milliseconds)],
        )
        with self._lock:
            if key in self._counts or len(self._counts) < _MOST_KEPT:
                counts = self._counts[key]
                counts[0] += 1
                counts[1] += milliseconds
                self._states.setdefault(attempt.appid, {}).update(_state(attempt, now))
            is_time = self._timing.monotonic() - self._written_at >= _WRITE_EVERY
            if is_time:
                self._written_at = self._timing.monotonic()
        if is_time:
            self.write()

    def write(self) -> None:
        """Write down what was counted; if the database is away, it is kept for the next time."""
        with self._lock:
            counts, self._counts = self._counts, defaultdict(lambda: [0, 0])
            states, self._states = self._states, {}
        if not counts:
            return
        is_written = False
        with suppress(Overloaded, NotReady), self._database.transaction() as transaction:
            # In one order in every process, so that two of them never wait for each other.
            for key, (count, milliseconds) in sorted(counts.items()):
                row = {**key._asdict(), "count": count, "milliseconds": milliseconds}
                transaction.execute(_adding(self._database), row)
            for appid, state in sorted(states.items()):
                transaction.execute(_noting(self._database), {"appid": appid, **_NOTHING, **state})
            is_written = True
        if not is_written:
            with self._lock:
                for key, (count, milliseconds) in counts.items():
                    self._counts[key][0] += count
                    self._counts[key][1] += milliseconds
                self._states = {**states, **self._states}


_NOTHING: Final[Mapping[str, Any]] = dict.fromkeys(
    ("succeeded_at", "failed_at", "call", "outcome", "rid")
)


def hour_of(moment: datetime) -> datetime:
    """Return when the hour of a moment began."""
    return moment.replace(minute=0, second=0, microsecond=0)


def _state(attempt: Attempt, now: datetime) -> dict[str, Any]:
    if attempt.outcome == OK:
        return {"succeeded_at": now}
    outcome = attempt.outcome[:LONGEST_OUTCOME]
    return {"failed_at": now, "call": attempt.call, "outcome": outcome, "rid": attempt.rid}


def _adding(database: Database) -> Any:
    insertion = upsert(database, wechat_counts)
    earlier, new = wechat_counts.c, insertion.excluded
    return insertion.on_conflict_do_update(
        index_elements=list(wechat_counts.primary_key),
        set_={
            "count": earlier["count"] + new["count"],
            "milliseconds": earlier.milliseconds + new.milliseconds,
        },
    )


def _noting(database: Database) -> Any:
    """Return the statement that replaces what is known, where there is something newer."""
    insertion = upsert(database, wechat_states)
    earlier, new = wechat_states.c, insertion.excluded
    has_failed = new.failed_at.is_not(None)
    of_failure = ("failed_at", "call", "outcome", "rid")
    return insertion.on_conflict_do_update(
        index_elements=["appid"],
        set_={
            "succeeded_at": func.coalesce(new.succeeded_at, earlier.succeeded_at),
            **{name: case((has_failed, new[name]), else_=earlier[name]) for name in of_failure},
        },
    )
