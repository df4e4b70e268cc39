"""wafer: the client packages that Tencent gave away and abandoned, of both generations.

They read different parts of a response, so every response here satisfies all of them:

* ``wafer2-client-sdk`` accepts a login if ``code`` is the number 0 and ``data`` has ``skey`` and
  ``userinfo``. It logs in again if ``code`` is -1 or, in 2.1.0, the status is 401.
* ``wafer-client-sdk`` and ``qcloud-weapp-client-sdk`` accept a login if the response has the magic
  key and ``session``. Any other response with the magic key is an error on which they drop their
  session, and on ``ERR_INVALID_SESSION`` they log in again.

So -1, 401 and the magic key are only for logins and for sessions that have expired or ended.
Source: the packages, as they are on the npm registry.
"""

from collections.abc import Mapping

from flask import Blueprint, Request, Response, request
from flask.typing import ResponseReturnValue
from pydantic import Field

from wxsession.errors import (
    CodeError,
    InvalidRequest,
    MissingToken,
    OpenDataError,
    TokenError,
    WeChatError,
    WxSessionError,
)
from wxsession.services import Services
from wxsession.web import bodies, problems
from wxsession.web.dialects.base import Dialect, log_in_by_code
from wxsession.web.request import header_of
from wxsession.wechat.open_data import OpenData, user_info

_MAGIC = "F2C224D4-2BCE-4C64-AF9F-A6D872000D1A"


class _HeaderMissed(InvalidRequest):
    """The login has no code."""

    def __init__(self) -> None:
        super().__init__([{"field": "X-WX-Code", "message": "is missing"}])


class _Login(bodies.LooseBody):
    code: bodies.Code = Field(alias="X-WX-Code")
    encrypted_data: bodies.OpenDataText | None = Field(alias="X-WX-Encrypted-Data")
    iv: bodies.Iv | None = Field(alias="X-WX-IV")
    encrypt_data: bodies.OpenDataText | None = Field(alias="X-WX-Encrypt-Data")
    """Of 0.7.4, when the iv was the session_key."""

    def open_data(self) -> OpenData | None:
        if self.encrypted_data is not None or self.iv is not None:
            return OpenData(encrypted_data=self.encrypted_data, iv=self.iv)
        if self.encrypt_data is not None:
            return OpenData(encrypted_data=self.encrypt_data, iv_is_session_key=True)
        return None  # the user refused, or `loginWithCode` never asked


def _add_routes(routes: Blueprint, services: Services) -> None:
    @routes.route("/weapp/login", methods=["GET", "POST"])
    def log_in() -> ResponseReturnValue:
        given = _given(request)
        login = log_in_by_code(services, request, given.code, open_data=given.open_data())
        grant = login.grant
        return {
            "code": 0,
            "data": {
                "skey": grant.session_token,
                "userinfo": user_info(grant.user, login.open_data),
                "expires_in": grant.expires_in,
            },
            _MAGIC: 1,
            "session": {"id": str(grant.session_id), "skey": grant.session_token},
        }

    @routes.get("/weapp/user")
    def show_user() -> ResponseReturnValue:
        token = WAFER.token(request)
        if token is None:
            raise MissingToken
        return {"code": 0, "data": user_info(services.sessions.check(token).user)}


def _given(request: Request) -> _Login:
    names = [str(field.alias) for field in _Login.model_fields.values()]
    given = {name: header_of(request, name) for name in names}
    if given["X-WX-Code"] is None:
        raise _HeaderMissed
    return bodies.read(_Login, given)


def _refusal(error: WxSessionError) -> Response:
    word = next((word for kind, word in _WORDS.items() if isinstance(error, kind)), None)
    body: Mapping[str, object] = {"error": word or error.code, "message": problems.title(error)}
    if word is None:  # nothing is wrong with the session, so the client has to keep it
        return problems.with_body(error, {"code": 1, **body})
    return problems.with_body(error, {"code": -1, _MAGIC: 1, **body})


# One of the packages requires the first word; the others are only shown to people, as they always
# were. More special errors come first.
_WORDS: Mapping[type[WxSessionError], str] = {
    TokenError: "ERR_INVALID_SESSION",
    _HeaderMissed: "ERR_HEADER_MISSED",
    InvalidRequest: "ERR_REQUEST_PARAM",
    OpenDataError: "ERR_IN_DECRYPT_DATA",
    CodeError: "ERR_GET_SESSION_KEY",
    WeChatError: "ERR_GET_SESSION_KEY",
}

WAFER = Dialect(name="wafer", token_header="X-WX-Skey", refusal=_refusal, add_routes=_add_routes)
