"""The call that everything begins with."""

from flask import request

from wxsession.accounts.service import AccountService
from wxsession.logins.service import CodeLogin, LoginService
from wxsession.web.api.endpoint import Endpoints
from wxsession.web.api.errors import CODE_ERRORS, DATABASE_ERRORS, OPEN_DATA_ERRORS, WECHAT_ERRORS
from wxsession.web.api.schemas import GrantReply, LoginBody
from wxsession.web.request import client_of, presented_token, referring_appid


def add_logins(calls: Endpoints, logins: LoginService, accounts: AccountService) -> None:
    """Add the login."""

    @calls.add(
        "POST",
        path="/login",
        body=LoginBody,
        reply=GrantReply,
        errors=(
            *("invalid_request", *CODE_ERRORS, *WECHAT_ERRORS),
            *("bad_credentials", "too_many_attempts", "identity_bound"),
            *(*OPEN_DATA_ERRORS, *DATABASE_ERRORS),
        ),
    )
    def login(body: LoginBody) -> GrantReply:
        """Log in by a code of wx.login, by username and password, or by both.

        Without `appid` the app is the one that WeChat names in the Referer if it is one of this
        server's, else the first. Both together bind the WeChat user to the account; that happens
        with the login or not at all. The session of a token that comes along is replaced.
        """
        client, presented = client_of(request), presented_token(request)
        credentials = body.credentials()
        if body.code is None:
            assert credentials is not None  # noqa: S101 - the model has seen to that
            return GrantReply.of(accounts.log_in(credentials, client, presented=presented))
        wanted = CodeLogin(
            code=body.code,
            appid=body.appid,
            referring_appid=referring_appid(request),
            presented=presented,
            credentials=credentials,
            open_data=body.user_info.open_data() if body.user_info else None,
        )
        return GrantReply.of(logins.by_code(wanted, client))
