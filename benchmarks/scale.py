"""How much of everything: as in the tests, in `make bench`, in `make bench-full`."""

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True)
class Scale:
    """How many sessions, for how many seconds, how often."""

    name: str
    sessions: int
    """In the tables of everybody who is compared."""
    growth: tuple[int, ...]
    presented: int
    """How many of the sessions are asked for."""
    seconds: float
    """Of one measurement of a round, after the warm-up."""
    warm_up: float
    rounds: int
    max_wait: float
    """For how many seconds of each subject it may wait for quiet, and repeat."""
    memory: tuple[int, int]
    """The requests after which a worker's memory is looked at."""
    expired: int
    """How many sessions there are to purge."""
    starts: int
    logins: int
    """How many logins or refreshes are prepared for each second of a measurement."""
    login_threads: int
    """How many of them are under way at once."""
    burst: int
    """How many logins come in one moment."""


SAMPLE: Final = Scale(
    name="sample",
    sessions=1_000,
    growth=(500, 1_000),
    presented=50,
    seconds=0.1,
    warm_up=0.05,
    rounds=1,
    max_wait=0,
    memory=(100, 200),
    expired=2_000,
    starts=1,
    logins=1_000,
    login_threads=8,
    burst=24,
)
BENCH: Final = Scale(
    name="bench",
    sessions=1_000_000,
    growth=(10_000, 1_000_000),
    presented=4_000,
    seconds=2,
    warm_up=1,
    rounds=3,
    max_wait=20,
    memory=(10_000, 100_000),
    expired=600_000,
    starts=5,
    logins=2_500,
    login_threads=64,
    burst=512,
)
FULL: Final = replace(
    BENCH,
    name="bench-full",
    growth=(*BENCH.growth, 10_000_000),
    seconds=6,
    warm_up=2,
    rounds=5,
    max_wait=200,
    expired=2_000_000,
    starts=10,
)
