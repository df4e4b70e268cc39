"""The Flask applications: WeChat with an HTTP face."""

import os

from click import UsageError
from flask import Flask

from .api import api
from .remote import remote
from .sns import sns
from .wechat import WeChat


def create_face(wechat: WeChat) -> Flask:
    """Give a WeChat its HTTP face: `/sns/`, `/cgi-bin/`, `/wxa/`, and `/simulator/` to move it."""
    app = Flask("wxsession.simulator", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024
    app.register_blueprint(sns(wechat))
    app.register_blueprint(api(wechat))
    app.register_blueprint(remote(wechat))
    return app


def create_app() -> Flask:
    """Create what `flask --app wxsession.simulator run` serves.

    Its apps come from `WXSESSION_APPS`, `appid:secret[,appid:secret...]`, the very variable that
    the login service reads: so both sides agree.

    Raises:
        UsageError: the variable is missing or cannot be read. Secrets are not in the message.
    """
    return create_face(WeChat(_apps(os.environ.get("WXSESSION_APPS", ""))))


def _apps(text: str) -> dict[str, str]:
    pairs = [pair.strip().partition(":") for pair in text.split(",") if pair.strip()]
    if not pairs or not all(appid and secret for appid, _, secret in pairs):
        raise UsageError(
            "WXSESSION_APPS has to name the apps of this WeChat: appid:secret[,appid:secret...]"
        )
    return {appid: secret for appid, _, secret in pairs}
