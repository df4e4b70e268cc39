"""The tutorials' two steps: a code for a ``session_id``, then what wx.getUserInfo returned."""

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from wxsession.errors import MissingToken, WxSessionError
from wxsession.services import Services
from wxsession.web import bodies, problems
from wxsession.web.dialects.base import Dialect, log_in_by_code
from wxsession.web.request import client_of, header_of
from wxsession.wechat.open_data import OpenData


class _Login(bodies.LooseBody):
    session_id: bodies.Text | None = None
    data: bodies.UserInfoBody | None = None


def _refusal(error: WxSessionError) -> Response:
    return problems.with_body(error, {"status": "FAILED", "error": error.code})


def _add_routes(routes: Blueprint, services: Services) -> None:
    @routes.post("/api/fetch_code")
    def fetch_code() -> ResponseReturnValue:
        body = bodies.read_json(bodies.CodeBody, bodies.raw(request))
        return {"session_id": log_in_by_code(services, request, body.code).grant.session_token}

    @routes.post("/api/login")
    def log_in() -> ResponseReturnValue:
        body = bodies.read_json(_Login, bodies.raw(request))
        token = header_of(request, FETCH_CODE.token_header) or body.session_id
        if token is None:
            raise MissingToken
        # `data` is empty if the user refused; the session of the first step stays.
        data = body.data.open_data() if body.data else OpenData()
        services.profiles.take(token, data, client_of(request))
        return {"status": "OK"}


FETCH_CODE = Dialect(
    name="fetch-code",
    token_header="session-id",
    token_field="session_id",
    refusal=_refusal,
    add_routes=_add_routes,
)
