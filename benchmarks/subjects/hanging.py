"""Checks while WeChat hangs and everybody tries to log in."""

from benchmarks.bench import Bench
from benchmarks.filling import MOST_USERS
from benchmarks.impatient import impatient_clients
from benchmarks.load import asking
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import Target, compare, rate
from benchmarks.servers import Ours
from benchmarks.wechat import WeChat

_TIMEOUT = 5.0  # as shipped
_HANGS = _TIMEOUT + 1
_CLIENTS = 256

_HOW = (
    "A worker with the threads and the timeout that it is shipped with: after the"
    " first calls without an answer the logins are refused at once, but for one at a time. An"
    " impatient client gives up after two seconds, or is refused, and begins again two seconds"
    " after its beginning."
)

_QUIET = "check, nobody logs in"
_PRESSED = f"check beside {_CLIENTS} impatient logins"


def measure(bench: Bench) -> Outcome:
    """Compare the check with itself, on a worker with as many threads as it is shipped with."""
    filled = bench.ours(bench.scale.growth[0])
    users = min(filled.sessions, MOST_USERS)
    settled = (_TIMEOUT + 1) * bench.scale.warm_up  # until the first calls have timed out
    check = asking("/check_session", filled.requests)

    with (
        WeChat(delay=_HANGS) as wechat,
        Ours(filled.url, threads=None, wechat_url=wechat.url) as server,
    ):
        results = compare(
            bench,
            [
                Target(_QUIET, server, check),
                Target(
                    _PRESSED,
                    server,
                    check,
                    beside=lambda: impatient_clients(
                        server.port, _CLIENTS, users=users, settled=settled
                    ),
                ),
            ],
        )
    kept = results[_PRESSED].to(results[_QUIET], rate)
    what = f"check beside {_CLIENTS} logins while WeChat hangs, against its own rate"
    return of_results(
        results,
        [Figure(what, 0.95, kept)],
        [_HOW],
    )
