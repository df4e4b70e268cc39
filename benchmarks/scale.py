"""How much of everything: as in the tests, in `make bench`, in `make bench-full`."""

from dataclasses import dataclass, replace
from typing import Final

from benchmarks.population import Population


@dataclass(frozen=True)
class Scale:
    """How many sessions, how often."""

    name: str
    sessions: int
    """In the tables of everybody who is compared."""
    growth: tuple[int, int]
    """The few and the many with which the check is compared."""
    presented: int
    """How many of the sessions are asked for."""
    seconds: float
    """Of one measurement."""
    warm_up: float
    rounds: int
    """How often each target is measured, between two measurements of the bare route."""
    memory: tuple[int, int]
    """The requests after which a worker's memory is looked at."""
    expired: int
    """How many sessions there are to purge."""
    starts: int
    prepared: int
    """How many logins, refreshes or logouts there are for one measurement."""
    burst: int
    """How many logins come in one moment."""
    population: Population
    """Whom the commands of an operator look up."""


SAMPLE: Final = Scale(
    name="sample",
    sessions=1_000,
    growth=(500, 1_000),
    presented=50,
    seconds=0.1,
    warm_up=0.05,
    rounds=1,
    memory=(100, 200),
    expired=2_000,
    starts=1,
    prepared=1_000,
    burst=24,
    population=Population(users=1_000, heavy=300, sealed=300),
)
BENCH: Final = Scale(
    name="bench",
    sessions=200_000,
    growth=(10_000, 10_000_000),
    presented=4_000,
    seconds=1,
    warm_up=1,
    rounds=5,
    memory=(3_000, 30_000),
    expired=600_000,
    starts=5,
    prepared=5_000,
    burst=512,
    population=Population(users=1_000_000, heavy=100_000, sealed=50_000),
)
FULL: Final = replace(
    BENCH,
    name="bench-full",
    rounds=18,
    expired=2_000_000,
    starts=10,
)
