"""The service in processes that die on request, for `gunicorn tests.proof.dying_server:app`.

``X-Die-At: 7`` lets the process kill itself at the seventh boundary of that request: before and
after each statement, before COMMIT, and when a connection goes back to the pool, which is the
first moment after COMMIT. The purge is served too, for its process has to die as well.
"""

import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, jsonify, request
from sqlalchemy import Engine, event

import config
from tests.proof.boundaries import DIE_AT, PURGE
from wxsession import create_app
from wxsession.errors import PurgeRunning
from wxsession.services import EXTENSION, Services

_BOUNDARIES = ("before_cursor_execute", "after_cursor_execute", "commit", "checkin")


class _Countdown(threading.local):
    """How many boundaries this thread has left; without end where nobody said."""

    left: float = float("inf")


_countdown = _Countdown()


def _boundary(*_: object) -> None:
    _countdown.left -= 1
    if not _countdown.left:
        os.kill(os.getpid(), signal.SIGKILL)


def _counting(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        _countdown.left = float(environ.get("HTTP_" + DIE_AT.upper().replace("-", "_"), "inf"))
        return application(environ, start_response)

    return serve


def _watch(engine: Engine) -> None:
    for name in _BOUNDARIES:
        event.listen(engine, name, _boundary)


def _create() -> Flask:
    application = create_app(config.settings())
    services: Services = application.extensions[EXTENSION]
    _watch(services.database.engine)

    @application.post(PURGE)
    def purge() -> Response | tuple[Response, int]:
        try:
            done = services.purge.run(
                services.settings.retention, batch_size=int(request.args["batch_size"])
            )
        except PurgeRunning:
            return jsonify({}), 409
        return jsonify(dataclasses.asdict(done))

    application.wsgi_app = _counting(application.wsgi_app)  # type: ignore[method-assign]
    return application


app = _create()
