"""What is measured: a module for each subject, all with `measure(bench)`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.bench import Bench
from benchmarks.outcome import Outcome
from benchmarks.subjects import (
    burst,
    check,
    floods,
    growth,
    hanging,
    login,
    memory,
    metrics,
    operators,
    partitions,
    peers,
    profiles,
    purge,
    purge_sqlite,
    refresh,
    shards,
    sizing,
    start_up,
    storage,
    touches,
    vacuum,
)


@dataclass(frozen=True)
class Subject:
    """Something to measure, in the words of the page."""

    name: str
    title: str
    measure: Callable[[Bench], Outcome]
    only_full: bool = False
    """Whether it takes too long for `make bench`, unless it is asked for by name."""


# Those that leave the tables as they were come first; the purges go last.
SUBJECTS: Final = (
    Subject("check", "The check", check.measure),
    Subject("peers", "Turn this token into this user, beside the peers", peers.measure),
    Subject("metrics", "The check, with metrics and without", metrics.measure),
    Subject("growth", "The check, with more and more sessions", growth.measure),
    Subject("storage", "Bytes a session", storage.measure),
    Subject("memory", "Memory of a worker", memory.measure),
    Subject("start-up", "Start-up", start_up.measure),
    Subject("hanging", "WeChat hangs for more than 5 s, 256 impatient logins", hanging.measure),
    Subject("floods", "Codes that hang and passwords, together", floods.measure),
    Subject("touches", "Touches", touches.measure),
    Subject("refresh", "Refresh and logout", refresh.measure),
    Subject("login", "Login of a known user", login.measure),
    Subject("burst", "Logins in one moment", burst.measure),
    Subject("profiles", "Where the CPU of a request goes", profiles.measure),
    Subject("purge", "Purge on PostgreSQL", purge.measure),
    Subject("purge-sqlite", "Purge on SQLite", purge_sqlite.measure),
    Subject("shards", "Sessions spread over several databases", shards.measure),
    Subject("sizing", "What a request writes and takes", sizing.measure, only_full=True),
    Subject("partitions", "Events in months", partitions.measure, only_full=True),
    Subject("vacuum", "Autovacuum, and room in pages", vacuum.measure, only_full=True),
    Subject("operators", "An operator among a million users", operators.measure, only_full=True),
)
