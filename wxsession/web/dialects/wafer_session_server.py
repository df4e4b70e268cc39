"""wafer's session server, which back ends of the first generation ask for everything.

It is only for back ends, as introspection is: they identify users by openId, so responses have the
openId, and only a back end with an API key gets one. A back end that cannot set a header has the
key in its URL, ``http://name:key@…/mina_auth/``, which most HTTP clients send as HTTP Basic.

Responses have the status 200, because these back ends read `returnCode` only then. Without an API
key it is 401 with a challenge: some HTTP clients send their credentials only after one.
``qcloud.cam.initdata``, with which anybody could replace the app secret, is not implemented.
Source: the wiki page "会话服务" of the project.
"""

import json
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, request
from pydantic import Field

from wxsession.errors import (
    CodeError,
    InsufficientScope,
    InvalidApiKey,
    InvalidRequest,
    InvalidToken,
    OpenDataError,
    SessionExpired,
    TokenError,
    WeChatError,
    WxSessionError,
)
from wxsession.services import Services
from wxsession.sessions.session import SessionView
from wxsession.web import bodies, problems
from wxsession.web.dialects.base import Dialect, log_in_by_code
from wxsession.web.request import back_end_of, client_of
from wxsession.wechat.open_data import OpenData, user_info

_DATABASE, _SHAPE = 1001, 1007


class _Interface(bodies.LooseBody):
    name: bodies.Text = Field(alias="interfaceName")
    para: dict[str, object]


class _Call(bodies.LooseBody):
    interface: _Interface


class _LogIn(bodies.LooseBody):
    code: bodies.Code
    encrypt_data: bodies.OpenDataText | None = None
    iv: bodies.Iv | None = None

    def open_data(self) -> OpenData | None:
        if not self.encrypt_data:
            return None
        return OpenData(
            encrypted_data=self.encrypt_data, iv=self.iv or None, iv_is_session_key=not self.iv
        )


class _Auth(bodies.LooseBody):
    id: bodies.Text
    skey: bodies.Text


class _UnknownInterface(InvalidRequest):
    """There is no such interface."""

    def __init__(self) -> None:
        super().__init__([{"field": "interface.interfaceName", "message": "unknown interface"}])


def _add_routes(routes: Blueprint, services: Services) -> None:
    def log_in(para: Mapping[str, object]) -> Response:
        given = bodies.read(_LogIn, para)
        # The address is the back end's, and so the same for all users: junk codes of one must not
        # stop the logins of the others.
        client = client_of(request)._replace(address=None)
        login = log_in_by_code(
            services, request, given.code, open_data=given.open_data(), client=client
        )
        grant = login.grant
        view = services.sessions.check(grant.session_token)
        data = {
            "id": str(grant.session_id),
            "skey": grant.session_token,
            "user_info": _user_info(view, login.open_data),
            "duration": grant.expires_in,
        }
        kind = "NEW" if grant.new_user else "UPDATE"
        return _answer(_body(0, f"{kind}_SESSION_SUCCESS", data))

    def auth(para: Mapping[str, object]) -> Response:
        given = bodies.read(_Auth, para)
        view = services.sessions.check(given.skey)
        if given.id != str(view.session_id):
            raise InvalidToken
        return _answer(_body(0, "AUTH_SUCCESS", {"user_info": _user_info(view)}))

    interfaces = {"qcloud.cam.id_skey": log_in, "qcloud.cam.auth": auth}

    @routes.post("/mina_auth")
    @routes.post("/mina_auth/")
    def mina_auth() -> Response:
        back_end_of(request, services.api_keys).ensure("introspect")
        call = bodies.read_json(_Call, bodies.raw(request)).interface
        if call.name not in interfaces:
            raise _UnknownInterface
        return interfaces[call.name](call.para)


def _user_info(view: SessionView, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    shown = user_info(view.user, data)
    if view.identity is not None:
        shown["openId"] = view.identity.openid
        if view.identity.unionid is not None:
            shown["unionId"] = view.identity.unionid
    return shown


def _refusal(error: WxSessionError) -> Response:
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), _DATABASE)
    unknown = isinstance(error, _UnknownInterface)
    body = _body(code, "unknown interface" if unknown else problems.title(error), {})
    return problems.with_body(error, body) if isinstance(error, _REFUSALS) else _answer(body)


_REFUSALS = (InvalidApiKey, InsufficientScope)
"""Of the key, which is the back end's HTTP and not its wafer."""

# More special errors come first.
_CODES: Mapping[type[WxSessionError], int] = {
    InvalidApiKey: _SHAPE,
    InsufficientScope: _SHAPE,
    InvalidRequest: _SHAPE,
    CodeError: 40029,
    OpenDataError: 60021,
    SessionExpired: 60011,
    TokenError: 60012,
    WeChatError: 1005,
}


def _body(code: int, message: str, data: Mapping[str, object]) -> Mapping[str, object]:
    return {
        "returnCode": code,
        "returnMessage": message,
        "returnData": data,
        "version": 1,
        "componentName": "MA",
    }


def _answer(body: Mapping[str, object]) -> Response:
    return Response(json.dumps(body), mimetype="application/json")


WAFER_SESSION_SERVER = Dialect(
    name="wafer-session-server", refusal=_refusal, add_routes=_add_routes
)
