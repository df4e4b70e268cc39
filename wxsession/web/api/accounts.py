"""The calls about accounts: register, bind, unbind, change the password."""

from http import HTTPStatus

from flask import request

from wxsession.accounts.authenticator import Credentials
from wxsession.accounts.service import AccountService
from wxsession.web.api.endpoint import Endpoints
from wxsession.web.api.errors import DATABASE_ERRORS, PASSWORD_ERRORS, TOKEN_ERRORS
from wxsession.web.api.schemas import (
    BindBody,
    GrantReply,
    IdentitiesReply,
    PasswordBody,
    RegisterBody,
    UnbindBody,
    UserReply,
    UserWrapped,
)
from wxsession.web.request import bearer_token, client_of, presented_token


def add_accounts(calls: Endpoints, accounts: AccountService) -> None:
    """Add the calls about usernames, passwords and the WeChat users that belong to them."""

    @calls.add(
        "POST",
        path="/register",
        body=RegisterBody,
        reply=GrantReply,
        status=HTTPStatus.CREATED,
        errors=(
            "invalid_request",
            "invalid_token",
            "session_expired",
            "session_ended",
            "session_superseded",
            "reauthentication_required",
            "username_taken",
            "too_many_attempts",
            *DATABASE_ERRORS,
        ),
        takes_token=True,
    )
    def register(body: RegisterBody) -> GrantReply:
        """Register a username and a password; with a session, for the session's own user.

        Such a session needs a login of the last ten minutes, and gets a new token. Usernames are
        compared after NFKC and case folding, and have 3 to 64 characters; passwords have 8 to 128.
        """
        wanted = Credentials(body.username, body.password)
        grant = accounts.register(presented_token(request), wanted, client_of(request))
        return GrantReply.of(grant)

    @calls.add(
        "POST",
        path="/bind",
        body=BindBody,
        reply=GrantReply,
        errors=(
            "invalid_request",
            *TOKEN_ERRORS,
            *PASSWORD_ERRORS,
            "reauthentication_required",
            "identity_bound",
        ),
        needs_token=True,
    )
    def bind(body: BindBody) -> GrantReply:
        """Bind the session's WeChat user to an account, by its username and password.

        The user that was made by a first login without an account is merged into it. The session
        goes on with its next token, the other sessions of that user end. Asked again with the same
        token, within the grace, the same again. Needs a login by WeChat of the last ten minutes.
        """
        wanted = Credentials(body.username, body.password)
        grant = accounts.bind(bearer_token(request), wanted, client_of(request))
        return GrantReply.of(grant)

    @calls.add(
        "GET", path="/identities", reply=IdentitiesReply, errors=TOKEN_ERRORS, needs_token=True
    )
    def list_identities() -> IdentitiesReply:
        """List the apps whose WeChat users lead to this user, oldest first."""
        return IdentitiesReply.of(accounts.identities(bearer_token(request)))

    @calls.add(
        "POST",
        path="/unbind",
        body=UnbindBody,
        body_required=False,
        reply=UserWrapped,
        errors=(
            "invalid_request",
            *TOKEN_ERRORS,
            "bad_credentials",
            "too_many_attempts",
            "reauthentication_required",
            "last_credential",
        ),
        needs_token=True,
    )
    def unbind(body: UnbindBody) -> UserWrapped:
        """Take the WeChat user of an app away from the account; that WeChat user starts anew.

        Without `appid` it is the app of the session; with `all` it is every app. Needs a login of
        the last ten minutes, or the password. The other sessions of those WeChat users end. No
        unionid binds them to this account again.
        """
        user = accounts.unbind(
            bearer_token(request),
            client_of(request),
            appid=body.appid,
            password=body.password,
            everything=body.all,
        )
        return UserWrapped(user=UserReply.of(user))

    @calls.add(
        "PUT",
        path="/password",
        body=PasswordBody,
        reply=GrantReply,
        errors=(
            "invalid_request",
            *TOKEN_ERRORS,
            *PASSWORD_ERRORS,
            "reauthentication_required",
        ),
        needs_token=True,
    )
    def change_password(body: PasswordBody) -> GrantReply:
        """Change the password; the session goes on with its next token, every other one ends.

        Needs a login of the last ten minutes, and the password so far.
        """
        grant = accounts.change_password(
            bearer_token(request), body.password, body.new_password, client_of(request)
        )
        return GrantReply.of(grant)
