"""The check beside the peers, all on the same work: turn this token into this user."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.bench import Bench
from benchmarks.load import asking
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import OURS, Target, compare, rate
from benchmarks.servers import Express, Ours, Peer

_FLASK_SESSION = "Flask-Session, SQLAlchemy"
_FLASK_LOGIN = "flask-login, Flask-SQLAlchemy"
_DJANGO = "Django sessions, auth user"
_EXPRESS = "express-session, connect-pg-simple"
_NO_TOUCH = f"{_EXPRESS}, disableTouch"

_IN_PYTHON = {
    _FLASK_SESSION: "flask_session_sqlalchemy",
    _FLASK_LOGIN: "flask_login_sqlalchemy",
    _DJANGO: "django_auth",
}
_TIMES = {_FLASK_SESSION: 6.0, _DJANGO: 5.0, _FLASK_LOGIN: 4.0, _NO_TOUCH: 1.3}


def measure(bench: Bench) -> Outcome:
    """Compare our service with them."""
    targets = [_ours(bench), *_peers(bench)]
    results = compare(bench, targets, to_bare=bench.ours().requests)
    for database in (*_IN_PYTHON.values(), "express"):
        bench.postgres.drop_database(database)
    ours = results[OURS]
    return of_results(
        results,
        [
            Figure(f"check against {name}", times, ours.to(results[name], rate))
            for name, times in _TIMES.items()
        ],
    )


def _ours(bench: Bench) -> Target:
    filled = bench.ours()
    check = asking("/check_session", filled.requests)
    return Target(OURS, Ours, filled.url, check, has_flights=True)


def _peers(bench: Bench) -> Iterator[Target]:
    modules = [*_IN_PYTHON.values(), "express"]
    urls = [_url(bench, module) for module in modules]
    with ThreadPoolExecutor() as pool:
        filled = dict(zip(modules, pool.map(bench.peer, modules, urls), strict=True))
    for name, module in _IN_PYTHON.items():
        check = asking("/check", filled[module])
        yield Target(name, partial(Peer, module), _url(bench, module), check, has_flights=True)
    check, url = asking("/check", filled["express"]), _url(bench, "express")
    for name, disabled in ((_EXPRESS, "0"), (_NO_TOUCH, "1")):
        serve = partial(Express, DISABLE_TOUCH=disabled)
        yield Target(name, serve, url, check, has_flights=True)


def _url(bench: Bench, module: str) -> str:
    by_sqlalchemy = module.endswith("_sqlalchemy")
    return bench.postgres.url(module) if by_sqlalchemy else bench.postgres.plain_url(module)
