"""WeChat as a Flask application: its endpoints, and how a reply leaves it."""

import os
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from socket import SHUT_RDWR, SO_LINGER, SOL_SOCKET, socket
from typing import Any

from click import UsageError
from flask import Blueprint, Flask, Response, request

from .control import control
from .server_api import Reply, Request
from .wechat import WeChat
from .wire import Dialect, serialize, stream


def create_flask_app(wechat: WeChat) -> Flask:
    """Serve a WeChat: `/sns/`, `/cgi-bin/`, `/wxa/`, and `/simulator/` to control it."""
    app = Flask("wxsession.simulator", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024
    app.register_blueprint(_sns(wechat))
    app.register_blueprint(_api(wechat))
    app.register_blueprint(control(wechat))
    return app


def create_app(environ: Mapping[str, str] = os.environ) -> Flask:
    """Create what `flask --app wxsession.simulator run` serves.

    Its apps come from `WXSESSION_APPS`, `appid:secret[,appid:secret...]`, and the secrets of their
    messages from `WXSESSION_PUSH`, `appid:token:EncodingAESKey[,...]`. The login service reads the
    same variables, so both agree.

    Raises:
        UsageError: a variable is missing or malformed. The message has no secret.
    """
    apps = _apps(environ.get("WXSESSION_APPS", ""))
    try:
        return create_flask_app(WeChat(apps, push=_push(environ.get("WXSESSION_PUSH", ""))))
    except ValueError:
        raise UsageError(
            "WXSESSION_PUSH must be appid:token:EncodingAESKey[,...], as in the console"
        ) from None


def _push(text: str) -> dict[str, tuple[str, str | None]]:
    found: dict[str, tuple[str, str | None]] = {}
    for entry in filter(None, text.split(",")):
        appid, token, *key = (part.strip() for part in entry.split(":"))
        found[appid] = token, key[0] if key else None
    return found


def _apps(text: str) -> dict[str, str]:
    pairs = [pair.strip().partition(":") for pair in text.split(",") if pair.strip()]
    if not pairs or not all(appid and secret for appid, _, secret in pairs):
        raise UsageError(
            "WXSESSION_APPS must name the apps of this WeChat: appid:secret[,appid:secret...]"
        )
    return {appid: secret for appid, _, secret in pairs}


def _sns(wechat: WeChat) -> Blueprint:
    """Return the endpoint of the login."""
    blueprint = Blueprint("sns", __name__)

    @blueprint.route("/sns/jscode2session", methods=["GET", "POST"])
    def jscode2session() -> Response:
        # Only the query counts: WeChat answers parameters in a POSTed body with "appid missing".
        return _response(wechat.jscode2session(_request()), Dialect.SNS)

    return blueprint


def _api(wechat: WeChat) -> Blueprint:
    """Return the endpoints that issue or take an access token."""
    blueprint = Blueprint("api", __name__)

    @blueprint.before_request
    def require_length() -> Response | None:
        # A gateway in front of WeChat refuses a body of unknown length: 412, and not a word.
        if request.method == "POST" and not request.environ.get("CONTENT_LENGTH"):
            return Response(status=412)
        return None

    @blueprint.route("/cgi-bin/stable_token", methods=["GET", "POST"])
    def stable_token() -> Response:
        return _response(wechat.stable_token(_request()), Dialect.API)

    @blueprint.route("/wxa/business/getuserphonenumber", methods=["GET", "POST"])
    def getuserphonenumber() -> Response:
        return _response(wechat.user_phone_number(_request()), Dialect.BUSINESS)

    @blueprint.get("/wxa/checksession")
    def checksession() -> Response:
        return _response(wechat.check_session(_request()), Dialect.API)

    @blueprint.get("/wxa/resetusersessionkey")
    def resetusersessionkey() -> Response:
        return _response(wechat.reset_session_key(_request()), Dialect.API)

    return blueprint


def _request() -> Request:
    body = request.get_data() if request.method == "POST" else None
    return Request(request.args.to_dict(), request.remote_addr or "", body)


def _response(reply: Reply, dialect: Dialect) -> Response:
    """Return the response to the current request.

    It waits with `environ["wxsession.simulator.sleep"]`, by default `time.sleep`. A WSGI
    application can neither refuse a connection that its server has accepted nor reset one. It can
    raise before the first byte, and then servers close the connection without a response.
    """
    message = serialize(reply, dialect)
    body = _body(reply, message.body, request.environ)
    response = Response(body, message.status, content_type=message.content_type)
    if message.has_length:
        response.content_length = len(message.body)
    return response


def _body(reply: Reply, body: bytes, environ: dict[str, Any]) -> Iterator[bytes]:
    try:
        yield from stream(reply, body, environ.get("wxsession.simulator.sleep", time.sleep))
    except ConnectionError:
        _reset(environ.get("werkzeug.socket") or environ.get("gunicorn.socket"))
        raise


def _reset(connection: socket | None) -> None:
    """Reset a connection, if the server gives access to its socket."""
    # Raising is not enough for Werkzeug: it would wait for the next request on this connection.
    if connection is not None:
        with suppress(OSError):  # the client may have closed it before
            connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(SHUT_RDWR)
