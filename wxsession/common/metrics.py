"""What this process has done so far, in plain numbers: counts, durations, and levels.

Counting costs less than a microsecond and never fails, so it goes on whether or not anybody asks.
How the numbers of all processes reach Prometheus is the matter of `operations.prometheus`.
"""

import os
import threading
import weakref
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

Labels = tuple[str, ...]


class Metric(NamedTuple):
    """A metric: its kind, what it says, and the names of its labels."""

    kind: Literal["counter", "histogram", "gauge"]
    help: str
    labels: Labels = ()


REQUESTS: Final = "http_server_request_duration_seconds"
EVENTS: Final = "wxsession_events_total"
WECHAT_CALLS: Final = "wxsession_wechat_call_duration_seconds"
WECHAT_ERRORS: Final = "wxsession_wechat_errors_total"
LOGINS_WAITING: Final = "wxsession_logins_waiting"
LOGINS_LIMIT: Final = "wxsession_logins_limit"
PASSWORD_QUEUE: Final = "wxsession_password_queue"  # noqa: S105 - a name
CONNECTIONS_IN_USE: Final = "wxsession_database_connections_in_use"
CONNECTIONS_LIMIT: Final = "wxsession_database_connections_limit"
LAST_SUCCESS: Final = "wxsession_maintenance_last_success_timestamp_seconds"
PURGED_ROWS: Final = "wxsession_purged_rows_total"
SEALED_VALUES: Final = "wxsession_sealed_values"
TOKEN_EXPIRY: Final = "wxsession_access_token_expires_timestamp_seconds"  # noqa: S105
BUILD_INFO: Final = "wxsession_build_info"

METRICS: Final[Mapping[str, Metric]] = {
    REQUESTS: Metric(
        "histogram",
        "How long requests took.",
        ("http_request_method", "http_route", "http_response_status_code"),
    ),
    EVENTS: Metric("counter", "Events of the audit.", ("event", "reason", "appid")),
    WECHAT_CALLS: Metric("histogram", "How long calls to WeChat took.", ("call", "outcome")),
    WECHAT_ERRORS: Metric(
        "counter", "What WeChat refused, and what got no answer.", ("call", "errcode", "appid")
    ),
    LOGINS_WAITING: Metric("gauge", "Logins and passwords that wait or are under way."),
    LOGINS_LIMIT: Metric("gauge", "How many of them there may be."),
    PASSWORD_QUEUE: Metric("gauge", "Passwords that wait to be hashed."),
    CONNECTIONS_IN_USE: Metric("gauge", "Database connections that somebody uses."),
    CONNECTIONS_LIMIT: Metric("gauge", "How many of them may be open."),
    LAST_SUCCESS: Metric("gauge", "When a job last did everything it had to.", ("task",)),
    PURGED_ROWS: Metric("counter", "Rows that purges have deleted.", ("table",)),
    SEALED_VALUES: Metric(
        "gauge", "Values under each key, when `keys` last counted them.", ("key",)
    ),
    TOKEN_EXPIRY: Metric("gauge", "When the access_token of an app expires.", ("appid",)),
    BUILD_INFO: Metric("gauge", "1, for the version that runs.", ("version", "revision")),
}

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of the buckets of every histogram, in seconds."""


class _Table:
    """What one thread has counted: no other one writes here, so nobody needs a lock."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, Labels], int] = {}
        self.durations: dict[tuple[str, Labels], list[float]] = {}
        """How many fell into each bucket, the last one being without end; and then their sum."""

    def add(self, other: "_Table") -> None:
        """Add what another thread has counted."""
        for key, count in list(other.counts.items()):
            self.counts[key] = self.counts.get(key, 0) + count
        for key, numbers in list(other.durations.items()):
            mine = self.durations.get(key, _NONE)
            self.durations[key] = [one + more for one, more in zip(mine, numbers, strict=True)]


_NONE = [0.0] * (len(BOUNDS) + 2)


class _Thread:
    """Is there as long as the thread that refers to it, whoever started that thread."""


class Numbers:
    """The numbers of one process."""

    def __init__(self) -> None:
        self._levels: dict[str, Callable[[], float]] = {}
        self.forget()

    def forget(self) -> None:
        """Begin anew, in a forked child: the parent goes on to count its own."""
        self._lock = threading.Lock()
        self._own = threading.local()
        self._past = _Table()
        self._tables: list[tuple[weakref.ref[_Thread], _Table]] = []

    def count(self, name: str, *labels: str | None, by: int = 1) -> None:
        """Add to a counter; a label that is None is empty."""
        key = name, tuple(label or "" for label in labels)
        counts = self._table().counts
        counts[key] = counts.get(key, 0) + by

    def observe(self, name: str, labels: Labels, seconds: float) -> None:
        """Add a duration to a histogram."""
        try:
            numbers = self._own.durations[name, labels]
        except (AttributeError, KeyError):  # the first of this thread
            numbers = self._table().durations[name, labels] = [*_NONE]
        numbers[bisect_left(BOUNDS, seconds)] += 1
        numbers[-1] += seconds

    def show_level(self, name: str, level: Callable[[], float]) -> None:
        """Let a gauge without labels be what a function returns."""
        self._levels[name] = level

    def snapshot(self) -> dict[str, Any]:
        """Return all numbers as JSON has them."""
        total = _Table()
        with self._lock:
            for thread, table in list(self._tables):
                if thread() is None:
                    self._past.add(table)
                    self._tables.remove((thread, table))
            for table in (self._past, *(table for _, table in self._tables)):
                total.add(table)
        return {
            "counts": [[name, labels, count] for (name, labels), count in total.counts.items()],
            "durations": [
                [name, labels, numbers[:-1], numbers[-1]]
                for (name, labels), numbers in total.durations.items()
            ],
            "levels": [[name, level()] for name, level in self._levels.items()],
        }

    def _table(self) -> _Table:
        """Return the numbers of this thread."""
        table: _Table | None = getattr(self._own, "table", None)
        if table is None:
            table, self._own.thread = _Table(), _Thread()
            with self._lock:
                self._tables.append((weakref.ref(self._own.thread), table))
            self._own.table, self._own.durations = table, table.durations
        return table


NUMBERS: Final = Numbers()
"""Those of this process."""

if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork either
    os.register_at_fork(after_in_child=NUMBERS.forget)
