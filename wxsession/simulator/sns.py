"""`/sns/`: the login endpoint on HTTP."""

from flask import Blueprint, Response, request

from .delivery import delivered
from .wechat import WeChat
from .wire import Dialect


def sns(wechat: WeChat) -> Blueprint:
    """Return the login endpoint of one WeChat."""
    blueprint = Blueprint("sns", __name__)

    @blueprint.route("/sns/jscode2session", methods=["GET", "POST"])
    def jscode2session() -> Response:
        # The query alone counts: WeChat answers parameters in a POSTed body with "appid missing".
        reply = wechat.reply(request.args.to_dict(), request.remote_addr or "")
        return delivered(reply, Dialect.SNS, wechat.drip)

    return blueprint
