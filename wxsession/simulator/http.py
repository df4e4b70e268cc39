"""WeChat as a Flask application."""

import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from socket import SHUT_RDWR, SO_LINGER, SOL_SOCKET, socket
from typing import Any

from click import UsageError
from flask import Blueprint, Flask, Response, request

from .control import control
from .server_api import Endpoint, Reply, Request
from .wechat import WeChat
from .wire import Dialect, serialize, stream


def create_flask_app(wechat: WeChat) -> Flask:
    """Give a WeChat its HTTP face: `/sns/`, `/cgi-bin/`, `/wxa/`, and `/simulator/` to move it."""
    app = Flask("wxsession.simulator", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024
    app.register_blueprint(_sns(wechat))
    app.register_blueprint(_api(wechat))
    app.register_blueprint(control(wechat))
    return app


def create_app() -> Flask:
    """Create what `flask --app wxsession.simulator run` serves.

    Its apps come from `WXSESSION_APPS`, `appid:secret[,appid:secret...]`, the very variable that
    the login service reads: so both sides agree.

    Raises:
        UsageError: the variable is missing or cannot be read. Secrets are not in the message.
    """
    return create_flask_app(WeChat(_apps(os.environ.get("WXSESSION_APPS", ""))))


def _apps(text: str) -> dict[str, str]:
    pairs = [pair.strip().partition(":") for pair in text.split(",") if pair.strip()]
    if not pairs or not all(appid and secret for appid, _, secret in pairs):
        raise UsageError(
            "WXSESSION_APPS has to name the apps of this WeChat: appid:secret[,appid:secret...]"
        )
    return {appid: secret for appid, _, secret in pairs}


def _api(wechat: WeChat) -> Blueprint:
    """Return the endpoints of one WeChat that give or want an access token."""
    blueprint = Blueprint("api", __name__)

    @blueprint.before_request
    def require_length() -> Response | None:
        # A gateway in front of WeChat wants to know how long a body is, and says no more than 412.
        if request.method == "POST" and not request.environ.get("CONTENT_LENGTH"):
            return Response(status=412)
        return None

    def answered(endpoint: Endpoint, dialect: Dialect = Dialect.API) -> Response:
        reply = wechat.answer(endpoint, _request())
        return _respond(reply, dialect, wechat.drip)

    @blueprint.route("/cgi-bin/stable_token", methods=["GET", "POST"])
    def stable_token() -> Response:
        return answered(Endpoint.STABLE_TOKEN)

    @blueprint.route("/wxa/business/getuserphonenumber", methods=["GET", "POST"])
    def getuserphonenumber() -> Response:
        return answered(Endpoint.USER_PHONE_NUMBER, Dialect.BUSINESS)

    @blueprint.get("/wxa/checksession")
    def checksession() -> Response:
        return answered(Endpoint.CHECK_SESSION)

    @blueprint.get("/wxa/resetusersessionkey")
    def resetusersessionkey() -> Response:
        return answered(Endpoint.RESET_SESSION_KEY)

    return blueprint


def _request() -> Request:
    body = request.get_data() if request.method == "POST" else None
    return Request(request.args.to_dict(), request.remote_addr or "", body)


def _sns(wechat: WeChat) -> Blueprint:
    """Return the login endpoint of one WeChat."""
    blueprint = Blueprint("sns", __name__)

    @blueprint.route("/sns/jscode2session", methods=["GET", "POST"])
    def jscode2session() -> Response:
        # The query alone counts: WeChat answers parameters in a POSTed body with "appid missing".
        reply = wechat.reply(request.args.to_dict(), request.remote_addr or "")
        return _respond(reply, Dialect.SNS, wechat.drip)

    return blueprint


def _respond(reply: Reply, dialect: Dialect, drip: float) -> Response:
    """Return the response that carries a reply to the current request.

    Waiting is left to `environ["wxsession.simulator.sleep"]`, or else to `time.sleep`. A WSGI
    application cannot refuse a connection that its server has accepted, nor end one properly;
    what it can do is to raise before the first byte, whereupon servers hang up without an answer.
    """
    message = serialize(reply, dialect)
    body = _body(reply, message.body, drip, request.environ)
    response = Response(body, message.status, content_type=message.content_type)
    if message.has_length:
        response.content_length = len(message.body)
    return response


def _body(reply: Reply, body: bytes, drip: float, environ: dict[str, Any]) -> Iterator[bytes]:
    try:
        yield from stream(reply, body, drip, environ.get("wxsession.simulator.sleep", time.sleep))
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
