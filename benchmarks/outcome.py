"""What a subject hands back: tables for the reader, and the figures that are promised."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.noise import Noise, worst
from benchmarks.rounds import BARE, Leg, Standing, app_cpu, p50, p99, rate


@dataclass(frozen=True)
class Table:
    """Rows for the page; all but the first column are numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """A number that the project promises, and the one that was measured."""

    what: str
    wanted: float
    reached: float | None
    unit: str = "×"
    at_most: bool = False
    limit: str = ""
    """What the measurement itself shows to stand in the way."""

    @property
    def holds(self) -> bool | None:
        """Whether it was reached; None if it was not measured undisturbed."""
        if self.reached is None:
            return None
        return self.reached <= self.wanted if self.at_most else self.reached >= self.wanted


@dataclass(frozen=True)
class Outcome:
    """What was measured of one subject."""

    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    noise: Noise | None = None
    """None where it does not matter."""
    notes: Sequence[str] = ()
    standings: Mapping[str, Standing] = field(default_factory=dict, repr=False)


def of_standings(
    standings: Mapping[str, Standing], figures: Sequence[Figure] = (), notes: Sequence[str] = ()
) -> Outcome:
    """Return the outcome with the table that all comparisons have."""
    head = (
        "",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "app CPU µs",
        "PostgreSQL CPU µs",
        "round trips",
        "noise",
    )
    rows = [_row(standing) for standing in standings.values()]
    noise = worst([standing.noise for standing in standings.values()])
    return Outcome([Table(head, rows)], figures, noise, notes, standings)


def _row(standing: Standing) -> Sequence[str]:
    return (
        standing.name,
        _with_ratio(standing, rate, "{:.0f}"),
        _with_ratio(standing, p50, "{:.1f}"),
        _with_ratio(standing, p99, "{:.1f}"),
        _with_ratio(standing, app_cpu, "{:.0f}"),
        f"{standing.median(lambda leg: leg.postgres_cpu):.0f}",
        "–" if standing.round_trips is None else f"{standing.round_trips:.1f}",
        f"{standing.noise.total:.1%}",
    )


def _with_ratio(standing: Standing, of: Callable[[Leg], float], form: str) -> str:
    value = form.format(standing.median(of))
    if standing.is_disturbed:
        return f"{value} (disturbed)"
    if standing.name == BARE:
        return f"{value} (1)"
    ratio = standing.to_bare(of)
    return value if ratio is None else f"{value} ({ratio:.2f} ×)"
