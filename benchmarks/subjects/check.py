"""The check beside the bare Flask route: the service and the guard, PostgreSQL and SQLite."""

from concurrent.futures import ThreadPoolExecutor

from benchmarks.bench import Bench
from benchmarks.load import asking
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import OURS, Target, app_cpu, compare, rate
from benchmarks.servers import Ours, running

_GUARD = f"{OURS}, session_required"
_SQLITE = f"{OURS} on SQLite"
_SHOP = "tests.support.shop:app"


def measure(bench: Bench) -> Outcome:
    """Compare the ways in which a session is checked."""
    # SQLite fills its file in this process, PostgreSQL its tables on the load's core.
    with ThreadPoolExecutor() as pool:
        filling = pool.submit(bench.in_file, bench.scale.sessions)
        filled = bench.ours()
        in_file = filling.result()
    service, guard, sqlite = Ours(filled.url), Ours(filled.url, module=_SHOP), Ours(in_file.url)
    check = asking("/check_session", filled.requests)
    with running(service, guard, sqlite):
        results = compare(
            bench,
            [
                Target(OURS, service, check, filled.name),
                Target(_GUARD, guard, asking("/orders", filled.requests), filled.name),
                Target(_SQLITE, sqlite, asking("/check_session", in_file.requests)),
            ],
            to_bare=filled.requests,
        )
    ours = results[OURS]
    return of_results(
        results,
        [
            Figure("check, requests/s against bare Flask", 1.0, ours.to_bare(rate)),
            Figure("check, app CPU against bare Flask", 1.0, ours.to_bare(app_cpu), at_most=True),
            Figure(
                "check through the guard against bare Flask", 0.6, results[_GUARD].to_bare(rate)
            ),
            Figure("check on SQLite against bare Flask", 0.9, results[_SQLITE].to_bare(rate)),
            Figure("check, round trips", 1, ours.round_trips, unit="", at_most=True),
        ],
    )
