"""What a subject hands back: tables for the reader, and the figures that are promised."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.noise import Noise, worst
from benchmarks.rounds import BARE, Measurement, Result, app_cpu, p50, p99, rate


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
    results: Mapping[str, Result] = field(default_factory=dict, repr=False)


def of_results(
    results: Mapping[str, Result], figures: Sequence[Figure] = (), notes: Sequence[str] = ()
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
    rows = [_row(result) for result in results.values()]
    noise = worst([result.noise for result in results.values()])
    return Outcome([Table(head, rows)], figures, noise, notes, results)


def _row(result: Result) -> Sequence[str]:
    return (
        result.name,
        _with_ratio(result, rate, "{:.0f}"),
        _with_ratio(result, p50, "{:.1f}"),
        _with_ratio(result, p99, "{:.1f}"),
        _with_ratio(result, app_cpu, "{:.0f}"),
        f"{result.median(lambda measurement: measurement.postgres_cpu):.0f}",
        "–" if result.round_trips is None else f"{result.round_trips:.1f}",
        f"{result.noise.total:.1%}",
    )


def _with_ratio(result: Result, of: Callable[[Measurement], float], form: str) -> str:
    value = form.format(result.median(of))
    if result.is_disturbed:
        return f"{value} (disturbed)"
    if result.name == BARE:
        return f"{value} (1)"
    ratio = result.to_bare(of)
    return value if ratio is None else f"{value} ({ratio:.2f} ×)"
