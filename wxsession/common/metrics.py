"""What this process has done so far, in plain numbers: counts, durations, and levels.

Counting costs next to nothing and never fails, so it goes on whether or not anybody asks.
How the numbers of all processes reach Prometheus is the matter of `operations.prometheus`.
"""

import os
import threading
from bisect import bisect_left
from collections import Counter, deque
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


_MOST_NOTES: Final = 10_000
"""Of durations that are not added up yet."""


class Numbers:
    """The numbers of one process.

    A duration is only noted, and added up with thousands of others: in the middle of a check, where
    nothing of this is in the processor's caches, adding it up took 4 µs.
    """

    def __init__(self) -> None:
        self._levels: dict[str, Callable[[], float]] = {}
        self.forget()

    def forget(self) -> None:
        """Begin anew, in a forked child: the parent goes on to count its own."""
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Labels]] = Counter()
        self._noted: deque[tuple[str, Labels, float]] = deque()
        self._durations: dict[tuple[str, Labels], list[float]] = {}
        """How many fell into each bucket, the last one being without end; and then their sum."""

    def count(self, name: str, *labels: str | None, by: int = 1) -> None:
        """Add to a counter; a label that is None is empty."""
        with self._lock:
            self._counts[name, tuple(label or "" for label in labels)] += by

    def observe(self, name: str, labels: Labels, seconds: float) -> None:
        """Add a duration to a histogram."""
        self._noted.append((name, labels, seconds))
        if len(self._noted) >= _MOST_NOTES:  # nobody asks for the numbers
            with self._lock:
                self._add_up()

    def show_level(self, name: str, level: Callable[[], float]) -> None:
        """Let a gauge without labels be what a function returns."""
        self._levels[name] = level

    def snapshot(self) -> dict[str, Any]:
        """Return all numbers as JSON has them."""
        with self._lock:
            self._add_up()
            counts = [[name, labels, count] for (name, labels), count in self._counts.items()]
            durations = [
                [name, labels, numbers[:-1], numbers[-1]]
                for (name, labels), numbers in self._durations.items()
            ]
        levels = [[name, level()] for name, level in self._levels.items()]
        return {"counts": counts, "durations": durations, "levels": levels}

    def _add_up(self) -> None:
        """Add what is noted to the durations; whoever calls this has the lock."""
        for _ in range(len(self._noted)):
            name, labels, seconds = self._noted.popleft()
            numbers = self._durations.setdefault((name, labels), [0.0] * (len(BOUNDS) + 2))
            numbers[bisect_left(BOUNDS, seconds)] += 1
            numbers[-1] += seconds


NUMBERS: Final = Numbers()
"""Those of this process."""

if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork either
    os.register_at_fork(after_in_child=NUMBERS.forget)
