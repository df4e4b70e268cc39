"""The check beside the peers, all on the same work: turn this token into this user."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from benchmarks.bench import Bench
from benchmarks.load import asking
from benchmarks.outcome import Figure, Outcome, of_results
from benchmarks.rounds import Target, compare, rate
from benchmarks.servers import Express, OursOnGranian, Peer, Serve
from benchmarks.subjects.check import ON_GRANIAN

_FLASK_SESSION = "Flask-Session, SQLAlchemy"
_FLASK_LOGIN = "flask-login, Flask-SQLAlchemy"
_DJANGO = "Django sessions, auth user"
_EXPRESS = "express-session, connect-pg-simple"
_NO_TOUCH = f"{_EXPRESS}, disableTouch"

_PEERS: Final[Mapping[str, tuple[str, Serve]]] = {
    _FLASK_SESSION: ("flask_session_sqlalchemy", partial(Peer, "flask_session_sqlalchemy")),
    _FLASK_LOGIN: ("flask_login_sqlalchemy", partial(Peer, "flask_login_sqlalchemy")),
    _DJANGO: ("django_auth", partial(Peer, "django_auth")),
    _EXPRESS: ("express", partial(Express, DISABLE_TOUCH="0")),
    _NO_TOUCH: ("express", partial(Express, DISABLE_TOUCH="1")),
}
_TIMES = {_FLASK_SESSION: 7.0, _DJANGO: 5.0, _FLASK_LOGIN: 4.0, _NO_TOUCH: 1.7}

_HOW = (
    "Each on the server that its own documentation shows: Flask's and Django's applications on"
    " gunicorn, Express on Node, our service on granian (`docs/en/deploy.md`); the table before has"
    " it on gunicorn. gunicorn and granian have one worker of eight threads."
)


def measure(bench: Bench) -> Outcome:
    """Compare our service with them."""
    modules = list(dict.fromkeys(module for module, _ in _PEERS.values()))
    with ThreadPoolExecutor() as pool:
        fill = partial(bench.peer, sessions=bench.scale.sessions, presented=bench.scale.presented)
        filled = dict(zip(modules, pool.map(fill, modules), strict=True))
    ours = bench.ours()
    check = asking("/check_session", ours.requests)
    targets = [Target(ON_GRANIAN, OursOnGranian, ours.url, check)]
    for name, (module, serve) in _PEERS.items():
        check = asking("/check", filled[module].requests)
        targets.append(Target(name, serve, filled[module].url, check, has_flights=True))
    results = compare(bench, targets, to_bare=ours.requests)
    for module in modules:
        bench.drop(filled[module])
    return of_results(
        results,
        [
            Figure(f"check on granian against {name}", times, fastest.to(results[name], rate))
            for fastest in [results[ON_GRANIAN]]
            for name, times in _TIMES.items()
        ],
        [_HOW],
    )
