"""The check beside the bare Flask route: on both servers and databases, and the ways to it."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.bench import Bench
from benchmarks.load import Request, Work, asking
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import OURS, Target, app_cpu, compare, rate
from benchmarks.servers import Ours, OursOnGranian

ON_GRANIAN = f"{OURS} on granian"
_GUARD = f"{OURS}, session_required"
_INTROSPECTION = f"{OURS}, introspection"
_SQLITE = f"{OURS} on SQLite"
_SHOP = "tests.support.shop:app"
_API_KEY = "an-api-key-that-is-made-up-for-the-benchmark"

_HOW = (
    "The bare Flask route is on gunicorn. granian has one worker of eight threads, too. Where a"
    " guard checks, a Flask route of a host application answers; introspection is asked with an"
    " API key."
)


def measure(bench: Bench) -> Outcome:
    """Compare the ways in which a session is checked."""
    # SQLite fills its file in this process, PostgreSQL its tables on the load's core.
    with ThreadPoolExecutor() as pool:
        filling = pool.submit(bench.in_file, bench.scale.sessions)
        filled = bench.ours()
        in_file = filling.result()
    check, orders = (asking(path, filled.requests) for path in ("/check_session", "/orders"))
    introspecting = partial(Ours, api_keys=f"shop:{_API_KEY}")
    introspections = Work("POST", "/introspect", [_introspection(one) for one in filled.requests])
    results = compare(
        bench,
        [
            Target(OURS, Ours, filled.url, check, has_flights=True),
            Target(ON_GRANIAN, OursOnGranian, filled.url, check, has_flights=True),
            Target(_GUARD, partial(Ours, module=_SHOP), filled.url, orders, has_flights=True),
            Target(
                _INTROSPECTION, introspecting, filled.url, lambda: introspections, has_flights=True
            ),
            Target(_SQLITE, Ours, in_file.url, asking("/check_session", in_file.requests)),
        ],
        to_bare=filled.requests,
    )
    ours, granian = results[OURS], results[ON_GRANIAN]
    return of_results(
        results,
        [
            Figure("check, requests/s", 1.05, ours.to_bare(rate)),
            Figure("check, app CPU", 0.95, ours.to_bare(app_cpu), at_most=True),
            Figure("check on granian, requests/s", 2.0, granian.to_bare(rate)),
            Figure("check on granian, app CPU", 0.42, granian.to_bare(app_cpu), at_most=True),
            Figure("check by the guard, requests/s", 0.72, results[_GUARD].to_bare(rate)),
            Figure("check on SQLite, requests/s", 0.9, results[_SQLITE].to_bare(rate)),
            Figure("check, flights", 1, ours.flights or 0, unit="", at_most=True),
        ],
        [_HOW],
    )


def _introspection(check: Request) -> Request:
    """Return the request of a back end that asks for the session of another request."""
    token = check.headers["Authorization"].removeprefix("Bearer ")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return Request({"Authorization": f"Bearer {_API_KEY}", **form}, f"token={token}")
