"""The program behind `make bench` and `make bench-full`."""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click

from benchmarks import plot
from benchmarks.bench import Bench
from benchmarks.database import Postgres
from benchmarks.load import Wrk
from benchmarks.machine import facts, versions
from benchmarks.outcome import Outcome
from benchmarks.report import Section, page
from benchmarks.requirements import EXPRESS, MissingProgram, ensure_installed
from benchmarks.rounds import Result
from benchmarks.scale import BENCH, FULL, Scale
from benchmarks.servers import Peer
from benchmarks.subjects import SUBJECTS, Subject
from tests.support.postgres import fast_folder

RESULTS = Path(__file__).with_name("results")
FINDINGS = Path(__file__).with_name("findings.md")
_PICTURED = {subject.title for subject in SUBJECTS if subject.name in {"check", "peers"}}
_NAMES = [subject.name for subject in SUBJECTS]


@click.command()
@click.option("--full", is_flag=True, help="All subjects, and three times as many rounds.")
@click.option(
    "--only",
    type=click.Choice(_NAMES),
    multiple=True,
    help="Not all subjects; the page is printed, unless --output says where to write it.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write page and picture. Default: benchmarks/results.",
)
def main(*, full: bool, only: tuple[str, ...], output: Path | None) -> None:
    """Measure, and write a page and a picture; exit with 2 if something is not installed."""
    try:
        ensure_installed()
    except MissingProgram as faults:
        click.echo(str(faults), err=True)
        sys.exit(2)
    scale = FULL if full else BENCH
    chosen = [
        subject
        for subject in SUBJECTS
        if (subject.name in only if only else full or not subject.only_full)
    ]
    sections, about = _run(scale, chosen)
    command = f"make {scale.name}"
    if only:
        command += f' ARGS="{" ".join(f"--only {name}" for name in only)}"'
    if only and output is None:
        click.echo(page(sections, command=command, about=about))
    else:
        # What somebody has written about the figures is about all of them.
        findings = "" if only else FINDINGS.read_text(encoding="utf-8")
        text = partial(page, sections, command=command, about=about, findings=findings)
        _write(output or RESULTS, scale.name, sections, text)
    sys.exit(any(section.failure for section in sections))


def _write(folder: Path, name: str, sections: Sequence[Section], text: Callable[..., str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    picture, written = folder / f"{name}.png", folder / f"{name}.md"
    drawn = plot.draw(_pictured(sections), picture)
    written.write_text(text(picture=picture.name if drawn else None), encoding="utf-8")
    click.echo(f"{written}: {sum(section.seconds for section in sections) / 60:.1f} minutes")


def _run(scale: Scale, chosen: Sequence[Subject]) -> tuple[list[Section], list[str]]:
    """Return what was measured, and what a reader has to know of machine and versions."""
    with (
        Postgres() as postgres,
        Peer("bare_flask") as bare,
        tempfile.TemporaryDirectory(dir=fast_folder()) as folder,
    ):
        bench = Bench(postgres, bare, Wrk(), scale, Path(folder), click.echo)
        sections = [_measure(bench, subject) for subject in chosen]
        return sections, [*facts(), f"Python: {', '.join(versions())}", _programs(postgres)]


def _measure(bench: Bench, subject: Subject) -> Section:
    click.echo(subject.title)
    begun = time.monotonic()
    try:
        outcome, failure = subject.measure(bench), ""
    except Exception as error:  # noqa: BLE001 - the other subjects are measured all the same
        outcome, failure = Outcome(), repr(error)
        click.echo(f"  {failure}", err=True)
    return Section(subject.title, outcome, time.monotonic() - begun, failure)


def _pictured(sections: Sequence[Section]) -> list[Result]:
    """Return how everybody stands who answers the check, each once."""
    there = [s.outcome.results for s in sections if s.title in _PICTURED]
    return list({name: one for results in there for name, one in results.items()}.values())


def _programs(postgres: Postgres) -> str:
    """Return the versions of what is not Python."""
    node = _first_line("node", "--version").removeprefix("v")
    wrk = re.search(r"wrk \S*?([\d.]+)", _first_line("wrk", "--version"))
    packages = json.loads((EXPRESS / "package.json").read_text())["dependencies"]
    express = ", ".join(f"{name} {version}" for name, version in packages.items())
    found = wrk[1] if wrk else "?"
    return f"PostgreSQL {postgres.version()}, wrk {found}, Node {node}: {express}"


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0]
