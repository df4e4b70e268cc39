"""Checks while WeChat hangs and everybody tries to log in."""

from benchmarks.bench import Bench
from benchmarks.filling import MOST_USERS
from benchmarks.impatient import impatient_clients
from benchmarks.load import asking
from benchmarks.outcome import Figure, Outcome, of_standings
from benchmarks.rounds import Contestant, compare, rate
from benchmarks.servers import Ours
from benchmarks.wechat import WeChat
from wxsession.db import Limits

_HANGS = 5.0
_CLIENTS = 64
_THREADS = 32  # as shipped

_HOW = (
    f"A worker with {_THREADS} threads; half of them may wait for WeChat, and there are"
    f" {Limits().pool_size} connections to the database: if a waiting login held one, none"
    " would be left for the checks. An impatient client gives up after two seconds."
)

_QUIET = "check, nobody logs in"
_PRESSED = f"check beside {_CLIENTS} impatient logins"


def measure(bench: Bench) -> Outcome:
    """Compare the check with itself, on a worker with as many threads as it is shipped with."""
    filled = bench.ours(bench.scale.growth[0])
    users = min(filled.sessions, MOST_USERS)
    settled = 3 * bench.scale.warm_up
    check = asking("/check_session", filled.requests)

    with (
        WeChat(delay=_HANGS) as wechat,
        Ours(filled.url, threads=_THREADS, wechat_url=wechat.url) as server,
    ):
        standings = compare(
            bench,
            [
                Contestant(_QUIET, server, check),
                Contestant(
                    _PRESSED,
                    server,
                    check,
                    beside=lambda: impatient_clients(
                        server.port, _CLIENTS, users=users, settled=settled
                    ),
                ),
            ],
        )
    kept = standings[_PRESSED].to(standings[_QUIET], rate)
    what = f"check beside {_CLIENTS} logins while WeChat hangs, against its own rate"
    return of_standings(
        standings,
        [Figure(what, 0.95, kept)],
        [_HOW],
    )
