"""A run as a page, with what is needed to judge it and to repeat it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.noise import MAX_DRIFT, MAX_NOISE
from benchmarks.outcome import Figure, Outcome, Table

_HOW = f"""\
The server has one core (one worker, eight threads, unless a table says otherwise); wrk with
sixteen kept connections, and PostgreSQL, have the other one. Every request presents a token drawn
from those of some thousand live sessions, which lie all over the table. In a round, three or fewer
are measured in turn, there and back, and the bare Flask route before and after them. A figure is
the median of what counts; in brackets is the ratio to the bare route, the median of the rounds.
The bare route is sent the tokens of our service, and does not look at them.
CPU is user and system time of all processes of the server, for a request. Both databases keep
their data in memory where there is room, PostgreSQL without fsync and autovacuum: what is measured
is work, not a disk. Round trips are
the statements that PostgreSQL's log has for a request on a warm connection, BEGIN, COMMIT and
ROLLBACK included.

Noise is the share of the cores' time that went to others. Beyond {MAX_NOISE:.0%} a measurement is
disturbed; so is a round in which the bare route differs from itself by more than {MAX_DRIFT:.0%}.
It is measured again, and has no ratio if that does not help. Less than 8 % is no difference."""


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
    reached = "disturbed" if figure.reached is None else f"{figure.reached:.3g}{unit}"
    verdict = {True: "yes", False: "**no**", None: "–"}[figure.holds]
    if figure.limit and figure.holds is False:
        verdict += f": {figure.limit}"
    return figure.what, wanted, reached, verdict


def _section(section: Section) -> Iterator[str]:
    yield from (f"## {section.title}", "")
    if section.failure:
        yield from (f"It could not be measured: {section.failure}", "")
    for table in section.outcome.tables:
        yield from (*_table(table), "")
    for note in section.outcome.notes:
        yield from (note, "")
    noise = section.outcome.noise
    seen = f"Noise: {noise.others:.1%} others, {noise.stolen:.1%} stolen. " if noise else ""
    yield f"{seen}{section.seconds:.0f} s."
    yield ""


def _table(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(table.head)} |"
    yield f"|---|{'---:|' * (len(table.head) - 1)}"
    for row in table.rows:
        yield f"| {' | '.join(row)} |"
