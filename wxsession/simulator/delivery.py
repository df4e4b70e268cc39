"""How a reply leaves a Flask application."""

import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from socket import SHUT_RDWR, SO_LINGER, SOL_SOCKET, socket
from typing import Any

from flask import Response, request

from .calls import Reply
from .wire import Dialect, paced, written


def delivered(reply: Reply, dialect: Dialect, drip: float) -> Response:
    """Return the response that carries a reply to the current request.

    Waiting is left to `environ["wxsession.simulator.sleep"]`, or else to `time.sleep`. A WSGI
    application cannot refuse a connection that its server has accepted, nor end one properly;
    what it can do is to raise before the first byte, whereupon servers hang up without an answer.
    """
    message = written(reply, dialect)
    sent = _sent(reply, message.body, drip, request.environ)
    response = Response(sent, message.status, content_type=message.content_type)
    if message.measured:
        response.content_length = len(message.body)
    return response


def _sent(reply: Reply, body: bytes, drip: float, environ: dict[str, Any]) -> Iterator[bytes]:
    try:
        yield from paced(reply, body, drip, environ.get("wxsession.simulator.sleep", time.sleep))
    except ConnectionError:
        _hang_up(environ.get("werkzeug.socket") or environ.get("gunicorn.socket"))
        raise


def _hang_up(connection: socket | None) -> None:
    """Cut a connection off, where the socket is within reach.

    Raising alone is not enough for werkzeug: it would wait for the next request on a connection
    that nothing was written to.
    """
    if connection is not None:
        with suppress(OSError):  # the client may have left before
            connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(SHUT_RDWR)
