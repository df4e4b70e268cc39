"""`/cgi-bin/` and `/wxa/`: the endpoints around the access token on HTTP."""

from flask import Blueprint, Response, request

from .calls import Call, Endpoint
from .delivery import delivered
from .wechat import WeChat
from .wire import Dialect


def api(wechat: WeChat) -> Blueprint:
    """Return the endpoints of one WeChat that give or want an access token."""
    blueprint = Blueprint("api", __name__)

    @blueprint.before_request
    def measure() -> Response | None:
        # A gateway in front of WeChat wants to know how long a body is, and says no more than 412.
        if request.method == "POST" and not request.environ.get("CONTENT_LENGTH"):
            return Response(status=412)
        return None

    def answered(endpoint: Endpoint, dialect: Dialect = Dialect.API) -> Response:
        reply = wechat.answer(endpoint, _call())
        return delivered(reply, dialect, wechat.drip)

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


def _call() -> Call:
    body = request.get_data() if request.method == "POST" else None
    return Call(request.args.to_dict(), request.remote_addr or "", body)
