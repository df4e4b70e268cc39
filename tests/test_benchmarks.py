"""The benchmark works: every subject runs for a moment, with few sessions and a plain load.

What it measures here means nothing. The load is sent from Python, so that the tests do without wrk.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from benchmarks import parts, plot
from benchmarks.bench import Bench
from benchmarks.database import Postgres
from benchmarks.flights import counting
from benchmarks.load import Reading, Work, Wrk
from benchmarks.noise import GROSS_NOISE, Noise
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.report import Section, page
from benchmarks.requirements import MissingProgram, ensure_installed
from benchmarks.rounds import Comparison, Measurement, Result, Spread, rate
from benchmarks.scale import SAMPLE
from benchmarks.servers import Peer
from benchmarks.subjects import SUBJECTS, Subject
from tests.support.load import PlainLoad
from tests.support.postgres import PostgresNotFound
from tests.support.service import ROOT

QUIET = Noise(others=0.01, stolen=0.0)
LOUD = Noise(others=0.0, stolen=GROSS_NOISE + 0.01)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    with Postgres() as postgres, Peer("bare_flask") as bare:
        yield Bench(postgres, bare, PlainLoad(), SAMPLE, folder, say=lambda _line: None)


@pytest.mark.long
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_a_sample_of_a_subject_can_be_measured(subject: Subject, bench: Bench) -> None:
    outcome = subject.measure(bench)
    assert outcome.tables
    assert all(len(row) == len(table.head) for table in outcome.tables for row in table.rows)
    assert all(one.mine.reading.requests for it in outcome.results.values() for one in it.rounds)
    # What is counted does not depend on how busy the machine is.
    assert all(figure.holds for figure in outcome.figures if figure.what in COUNTED), outcome


COUNTED = {
    "check, flights",
    "refresh, flights",
    "24 logins at once, WeChat after 100 ms, all threads: answered with 200",
    "24 logins at once, WeChat after 300 ms, all threads: answered with 200",
    "24 logins at once, WeChat after 100 ms, 128 threads: answered with 200",
    "HOT among touches that leave the purge date alone",
}


def test_a_flight_is_a_wait_whatever_travels_in_it(postgresql_url: str) -> None:
    direct = make_url(postgresql_url)
    with (
        counting((str(direct.host), direct.port or 0)) as proxy,
        psycopg.connect(
            host=direct.host,
            port=proxy.port,
            user=direct.username,
            dbname=direct.database,
            autocommit=True,
        ) as connection,
    ):
        proxy.flights = 0
        for _ in range(3):
            connection.execute("SELECT 1")
        assert proxy.flights == 3
        with connection.pipeline() as pipeline:
            for _ in range(3):
                connection.execute("SELECT 1")
            pipeline.sync()
            assert proxy.flights == 4


@pytest.mark.long
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is missing: apt install wrk")
def test_wrk_counts_what_was_answered_and_what_failed(bench: Bench) -> None:
    good = Wrk().run(bench.bare.port, Work("GET", "/check"), seconds=1)
    bad = Wrk().run(bench.bare.port, Work("GET", "/nowhere"), seconds=1)
    assert good.requests > good.failed == 0
    assert bad.requests == bad.failed > 0
    assert 0 < good.p50 <= good.p99 < 1000 * good.seconds


@pytest.mark.parametrize(
    ("program", "said"), [("wrk", "apt install wrk"), ("node", "apt install nodejs npm")]
)
def test_a_missing_program_is_named(program: str, said: str) -> None:
    with pytest.raises(MissingProgram, match=said):
        ensure_installed(lambda name: None if name == program else "/bin/true")


def test_a_missing_postgresql_is_named() -> None:
    def find_nothing() -> Path:
        raise PostgresNotFound

    with pytest.raises(MissingProgram, match="apt install postgresql"):
        ensure_installed(find_server=find_nothing)


def test_a_missing_package_of_python_is_named() -> None:
    with pytest.raises(MissingProgram, match=r"flask_jwt_extended: missing; pip install"):
        ensure_installed(find_module=lambda name: None if "jwt" in name else name)


def test_without_wrk_the_program_says_so_and_exits_with_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--output", str(tmp_path)],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "wrk is missing: apt install wrk" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_package_imports_nothing_of_the_benchmark() -> None:
    imports = re.compile(r"^\s*(from|import) benchmarks", re.MULTILINE)
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "wxsession").rglob("*.py")]
    assert not list(filter(imports.search, sources))


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    result = Result("ours", rounds=[compared(250), compared(500), compared(750), compared(1000)])
    assert result.to_bare(rate) == Spread(median=0.625, low=0.4375, high=0.8125)


def test_a_target_stands_between_its_neighbours() -> None:
    drifting = Comparison(measurement(600), (measurement(1000), measurement(1400)))
    assert drifting.ratio(rate) == 0.5


def test_a_ratio_to_another_target_is_one_of_the_same_round() -> None:
    ours = Result("ours", rounds=[compared(400), compared(1000, LOUD), compared(900)])
    theirs = Result("theirs", rounds=[compared(200), compared(100), compared(450)])
    assert ours.to(theirs, rate) == Spread(2, 2, 2)


def test_a_gross_disturbance_does_not_count() -> None:
    result = Result("ours", rounds=[compared(500), compared(100, LOUD)])
    assert result.to_bare(rate).median == 0.5
    assert "(1 of 2)" in of_results({"ours": result}).tables[0].rows[0][-1]


def test_a_run_on_a_noisy_machine_ends_with_figures() -> None:
    ours = Result("ours", rounds=[compared(700, LOUD), compared(900, LOUD)])
    figure = Figure("check against bare Flask", 1.0, ours.to_bare(rate))
    written = page(
        [Section("Check", of_results({"ours": ours}, [figure]), 3.0)],
        command="make bench",
        about=["Machine: one"],
    )
    assert "| ours | 800 (0.80 ×, 0.75 to 0.85) |" in written
    assert "| 26.0% |" in written
    assert "| check against bare Flask | ≥ 1 × | 0.8 × (0.75 to 0.85) | **no** |" in written


def test_the_picture_has_everybody(tmp_path: Path) -> None:
    ours = Result("ours", rounds=[compared(900)])
    assert plot.draw([ours], tmp_path / "some.png")
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")
    assert not plot.draw([], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize(
    ("reached", "at_most", "verdict"),
    [(1.2, False, "yes"), (0.8, False, "**no**"), (0.8, True, "yes"), (1.2, True, "**no**")],
)
def test_the_page_says_what_was_reached(reached: float, at_most: bool, verdict: str) -> None:  # noqa: FBT001
    figure = Figure("a figure", 1.0, reached, at_most=at_most)
    written = page(
        [
            Section("One", Outcome(figures=[figure]), 1.0),
            Section("Two", Outcome(), 1.0, failure="no answer"),
        ],
        command="make bench",
        about=[],
        picture="bench.png",
        findings="## What stands in the way\n\nNothing.\n",
    )
    sign = "≤" if at_most else "≥"
    assert f"| a figure | {sign} 1 × | {reached} × | {verdict} |" in written
    assert "It could not be measured: no answer" in written
    assert "](bench.png)" in written
    assert "\n\n## What stands in the way\n\nNothing.\n\n## How it was measured\n" in written


def measurement(per_second: float, noise: Noise = QUIET) -> Measurement:
    reading = Reading(requests=round(per_second), seconds=1.0, p50=1.0, p99=2.0)
    return Measurement(reading, app_cpu=400.0, postgres_cpu=100.0, noise=noise)


def compared(per_second: float, noise: Noise = QUIET) -> Comparison:
    """Return a round in which the bare route made a thousand requests per second."""
    bare = measurement(1000)
    return Comparison(measurement(per_second, noise), (bare, bare))


def test_what_each_specialisation_of_the_check_spares_can_be_measured(
    sqlite_url: str, postgresql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, url in (("SQLite", sqlite_url), ("PostgreSQL", postgresql_url)):
        parts.report(name, url, rounds=1, calls=1)
        printed = capsys.readouterr().out
        assert name in printed
        for room in ("front", "statements", "connection_cache"):
            assert room in printed
