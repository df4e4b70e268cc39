"""The figures of a run as a page, with what is needed to compare them and nothing personal."""

import os
import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.proof.outcome import Outcome
from tests.proof.processes import CORES

_MAX_SHOWN = 10


@dataclass(frozen=True)
class Row:
    """One invariant on one database."""

    name: str
    promise: str
    database: str
    outcome: Outcome
    seconds: float


def page(rows: Sequence[Row], *, command: str, postgresql: str) -> str:
    """Return the page in Markdown; `postgresql` is the version of the server."""
    violations = sum(len(row.outcome.violations) for row in rows)
    lines = [
        "# Proof",
        "",
        f"What `{command}` found on {datetime.now(UTC):%Y-%m-%d}: {violations} violations.",
        "",
        f"* Machine: {_processor()}, {CORES} cores, {_memory()}",
        f"* System: {platform.system()} {platform.release()}, Python {platform.python_version()}",
        f"* Databases: SQLite {sqlite3.sqlite_version}, PostgreSQL {postgresql}",
        "* The service: gunicorn, two worker processes (three where they are killed)",
        "",
        "| invariant | database | runs | violations | seconds | seen |",
        "|---|---|---:|---:|---:|---|",
        *map(_line, rows),
        "",
        "What each of them says:",
        "",
        *(f"* **{name}**: {promise}." for name, promise in _promises(rows).items()),
        "",
    ]
    if violations:
        lines += ["## Violations", "", *_violations(rows), ""]
    return "\n".join(lines)


def _line(row: Row) -> str:
    found = row.outcome
    return (
        f"| {row.name} | {row.database} | {found.runs:,} | {len(found.violations)}"
        f" | {row.seconds:.0f} | {found.seen} |"
    )


def _promises(rows: Sequence[Row]) -> dict[str, str]:
    return {row.name: row.promise for row in rows}


def _violations(rows: Sequence[Row]) -> list[str]:
    return [
        f"* {row.name}, {row.database}: {fault}"
        for row in rows
        for fault in row.outcome.violations[:_MAX_SHOWN]
    ]


def _processor() -> str:
    try:
        facts = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in facts if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{total / 2**30:.0f} GiB of memory"
