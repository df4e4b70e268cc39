"""A run as a page, with what is needed to judge it and to repeat it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.noise import GROSS_NOISE
from benchmarks.outcome import Figure, Outcome, Table
from benchmarks.rounds import Spread

_HOW = f"""\
The server has one core (one worker, eight threads, unless a table says otherwise); wrk with
sixteen kept connections, and PostgreSQL, have the other one. Every request presents a token drawn
from those of some thousand live sessions, which lie all over the table.

A measurement takes a second, and stands between two of the bare Flask route; that is done again and
again, with all targets in turn. A ratio to the bare route is a target's figure by the mean of its
two neighbours'. What is shown is the median of the rounds, and the quartiles of the ratio. The row
of the bare route itself shows how noisy the machine was: it is the same comparison, and without
noise it would be 1. The bare route is sent the tokens of our service where those are compared, and
does not look at them.

CPU is user and system time of all processes of the server, and of PostgreSQL beside it, for a
request; those that are under way when a measurement ends are waited for, and counted. Flights are
the waits for PostgreSQL that a request has on a warm connection, whatever travels in one, counted
on the wire. Both databases keep their data in memory where there is room, PostgreSQL without fsync
and autovacuum, unless a table says otherwise: what is measured is work, not a disk.

Noise is the share of the cores' time that went to others. A comparison with more than
{GROSS_NOISE:.0%} of it does not count, unless most of them are like that."""


@dataclass(frozen=True)
class Section:
    """A subject and what was found; `failure` says why, if nothing was."""

    title: str
    outcome: Outcome
    seconds: float
    failure: str = ""


def page(
    sections: Sequence[Section],
    *,
    command: str,
    about: Sequence[str],
    picture: str | None = None,
    findings: str = "",
) -> str:
    """Return the page in Markdown.

    `about` are facts of machine and versions, `findings` what somebody wrote about the figures.
    """
    lines = [
        "# Benchmark",
        "",
        f"What `{command}` found on {datetime.now(UTC):%Y-%m-%d}.",
        "",
        *(f"* {fact}" for fact in about),
        "",
        *([f"![requests/s and CPU of everybody who checks]({picture})", ""] if picture else []),
        "## Wanted and reached",
        "",
        *_table(_figures(sections)),
        "",
        *([findings] if findings else []),
        "## How it was measured",
        "",
        _HOW,
        "",
    ]
    for section in sections:
        lines += _section(section)
    return "\n".join(lines)


def _figures(sections: Sequence[Section]) -> Table:
    rows = [_figure(figure) for section in sections for figure in section.outcome.figures]
    return Table(("", "wanted", "reached", ""), rows)


def _figure(figure: Figure) -> Sequence[str]:
    unit = f" {figure.unit}" if figure.unit else ""
    wanted = f"{'≤' if figure.at_most else '≥'} {figure.wanted:g}{unit}"
    reached = f"{figure.value:.3g}{unit}"
    if isinstance(figure.reached, Spread):
        reached += f" ({figure.reached.low:.3g} to {figure.reached.high:.3g})"
    return figure.what, wanted, reached, "yes" if figure.holds else "**no**"


def _section(section: Section) -> Iterator[str]:
    yield from (f"## {section.title}", "")
    if section.failure:
        yield from (f"It could not be measured: {section.failure}", "")
    for table in section.outcome.tables:
        yield from (*_table(table), "")
    for note in section.outcome.notes:
        yield from (note, "")
    yield f"{section.seconds:.0f} s."
    yield ""


def _table(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(table.head)} |"
    yield f"|---|{'---:|' * (len(table.head) - 1)}"
    for row in table.rows:
        yield f"| {' | '.join(row)} |"
