"""What a subject hands back: tables for the reader, and the figures that are promised."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.rounds import (
    Measurement,
    Result,
    Spread,
    all_cpu,
    app_cpu,
    p50,
    p99,
    postgres_cpu,
    rate,
)


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
    reached: Spread | float
    unit: str = "×"
    at_most: bool = False

    @property
    def value(self) -> float:
        """What was measured, the median if it was measured several times."""
        return self.reached.median if isinstance(self.reached, Spread) else self.reached

    @property
    def holds(self) -> bool:
        """Whether it was reached."""
        return self.value <= self.wanted if self.at_most else self.value >= self.wanted


@dataclass(frozen=True)
class Outcome:
    """What was measured of one subject."""

    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
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
        "both",
        "flights",
        "noise",
    )
    return Outcome([Table(head, [_row(one) for one in results.values()])], figures, notes, results)


def _row(result: Result) -> Sequence[str]:
    counted, seen = result.counted, result.rounds
    noise = statistics.median(one.noise for one in counted)
    left_out = f" ({len(counted)} of {len(seen)})" if len(counted) < len(seen) else ""
    return (
        result.name,
        _with_ratio(result, rate, "{:.0f}"),
        f"{result.median(p50):.1f}",
        f"{result.median(p99):.1f}",
        _with_ratio(result, app_cpu, "{:.0f}"),
        f"{result.median(postgres_cpu):.0f}",
        f"{result.median(all_cpu):.0f}",
        "–" if result.flights is None else f"{result.flights:g}",
        f"{noise:.1%}{left_out}",
    )


def _with_ratio(result: Result, of: Callable[[Measurement], float], form: str) -> str:
    ratio = result.to_bare(of)
    spread = f"{ratio.median:.2f} ×, {ratio.low:.2f} to {ratio.high:.2f}"
    return f"{form.format(result.median(of))} ({spread})"
