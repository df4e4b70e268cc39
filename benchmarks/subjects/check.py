"""The check beside the bare Flask route: the service and the guard, PostgreSQL and SQLite."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.bench import Bench
from benchmarks.load import asking
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import OURS, Target, app_cpu, compare, rate
from benchmarks.servers import Ours

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
    check, orders = (asking(path, filled.requests) for path in ("/check_session", "/orders"))
    results = compare(
        bench,
        [
            Target(OURS, Ours, filled.url, check, has_flights=True),
            Target(_GUARD, partial(Ours, module=_SHOP), filled.url, orders, has_flights=True),
            Target(_SQLITE, Ours, in_file.url, asking("/check_session", in_file.requests)),
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
            Figure("check, flights", 1, ours.flights or 0, unit="", at_most=True),
        ],
    )
