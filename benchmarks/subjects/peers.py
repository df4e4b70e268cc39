"""The check beside the peers, all on the same work: turn this token into this user."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.bench import Bench, peer_environment
from benchmarks.load import asking
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import OURS, Target, compare, rate
from benchmarks.servers import Express, Ours, Peer, running

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
    with running(*(one.server for one in targets)):
        results = compare(bench, targets, to_bare=bench.ours().requests)
    for database in {one.database for one in targets[1:] if one.database}:
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
    return Target(OURS, Ours(filled.url), check, filled.name)


def _peers(bench: Bench) -> Iterator[Target]:
    modules = [*_IN_PYTHON.values(), "express"]
    urls = [_url(bench, module) for module in modules]
    with ThreadPoolExecutor() as pool:
        filled = dict(zip(modules, pool.map(bench.peer, modules, urls), strict=True))
    for name, module in _IN_PYTHON.items():
        server = Peer(module, peer_environment(_url(bench, module)))
        yield Target(name, server, asking("/check", filled[module]), module)
    for name, disabled in ((_EXPRESS, "0"), (_NO_TOUCH, "1")):
        environment = peer_environment(_url(bench, "express")) | {"DISABLE_TOUCH": disabled}
        yield Target(name, Express(environment), asking("/check", filled["express"]), "express")


def _url(bench: Bench, module: str) -> str:
    by_sqlalchemy = module.endswith("_sqlalchemy")
    return bench.postgres.url(module) if by_sqlalchemy else bench.postgres.plain_url(module)
