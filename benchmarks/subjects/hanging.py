"""Checks while WeChat hangs and everybody tries to log in."""

from functools import partial

from benchmarks.bench import Bench
from benchmarks.impatient import impatient_clients
from benchmarks.load import asking
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import Target, compare, rate
from benchmarks.servers import Ours
from benchmarks.wechat import WeChat

_TIMEOUT = 5.0  # as shipped
_HANGS = _TIMEOUT + 1
_CLIENTS = 256
_ROUNDS = 3  # each of them waits for the first timeouts

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
    settled = (_TIMEOUT + 1) * bench.scale.warm_up  # until the first calls have timed out
    check = asking("/check_session", filled.requests)
    clients = partial(impatient_clients, count=_CLIENTS, users=filled.sessions, settled=settled)
    with WeChat(delay=_HANGS) as wechat:
        serve = partial(Ours, threads=None, wechat_url=wechat.url)
        results = compare(
            bench,
            [
                Target(_QUIET, serve, filled.url, check),
                Target(_PRESSED, serve, filled.url, check, beside=clients),
            ],
            rounds=min(_ROUNDS, bench.scale.rounds),
        )
    kept = results[_PRESSED].to(results[_QUIET], rate)
    what = f"check beside {_CLIENTS} logins while WeChat hangs, against its own rate"
    return of_results(results, [Figure(what, 0.95, kept)], [_HOW])
