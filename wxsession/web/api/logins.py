"""The endpoint with which everything begins: the login."""

from flask import Request

from wxsession.errors import (
    BadCredentials,
    CodeError,
    IdentityBound,
    NotReady,
    OpenDataError,
    Overloaded,
    TooManyAttempts,
    WeChatError,
)
from wxsession.logins.service import CodeLogin
from wxsession.services import Services
from wxsession.web.api.endpoints import Endpoint
from wxsession.web.api.schemas import GrantReply, LoginBody
from wxsession.web.request import client_of, presented_token, referring_appid


def login(services: Services, request: Request, body: LoginBody) -> GrantReply:
    """Log in by a code of wx.login, by username and password, or by both.

    Without `appid` it is the app that WeChat names in the Referer if this server has it, otherwise
    the first app of this server. Both together bind the WeChat user to the account; if that fails,
    so does the login. If a session token is sent with the request, its session is replaced.
    """
    client, presented = client_of(request), presented_token(request)
    credentials = body.credentials()
    if body.code is None:
        assert credentials is not None  # noqa: S101 - the model requires them
        grant = services.accounts.log_in(credentials, client, presented=presented)
        return GrantReply.of(grant)
    wanted = CodeLogin(
        code=body.code,
        appid=body.appid,
        referring_appid=referring_appid(request),
        presented=presented,
        credentials=credentials,
        open_data=body.user_info.open_data() if body.user_info else None,
    )
    return GrantReply.of(services.logins.by_code(wanted, client))


ENDPOINTS = (
    Endpoint(
        "/login",
        login,
        methods=["POST"],
        raises=[
            CodeError,
            WeChatError,
            BadCredentials,
            TooManyAttempts,
            IdentityBound,
            OpenDataError,
            Overloaded,
            NotReady,
        ],
    ),
)
