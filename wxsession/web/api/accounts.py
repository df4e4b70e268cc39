"""The endpoints about accounts: register, bind, unbind, change the password."""

from http import HTTPStatus

from flask import Request

from wxsession.accounts.authenticator import Credentials
from wxsession.errors import (
    BadCredentials,
    IdentityBound,
    InvalidToken,
    LastCredential,
    NotReady,
    Overloaded,
    ReauthenticationRequired,
    SessionEnded,
    SessionExpired,
    SessionSuperseded,
    TokenError,
    TooManyAttempts,
    UserBlocked,
    UsernameTaken,
)
from wxsession.services import Services
from wxsession.web.api.endpoints import Auth, Endpoint
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


def register(services: Services, request: Request, body: RegisterBody) -> GrantReply:
    """Register a username and a password; with a session, for the session's own user.

    Such a session needs a login of the last ten minutes, and gets a new token. Usernames are
    compared after NFKC and case folding, and have 3 to 64 characters; passwords have 8 to 128.
    """
    wanted = Credentials(body.username, body.password)
    grant = services.accounts.register(presented_token(request), wanted, client_of(request))
    return GrantReply.of(grant)


def bind(services: Services, request: Request, body: BindBody) -> GrantReply:
    """Bind the session's WeChat user to an account, by its username and password.

    The user that was made by a first login without an account is merged into it. The session
    goes on with its next token, the other sessions of that user end. Asked again with the same
    token, within the grace, the same again. Needs a login by WeChat of the last ten minutes.
    """
    wanted = Credentials(body.username, body.password)
    grant = services.accounts.bind(bearer_token(request), wanted, client_of(request))
    return GrantReply.of(grant)


def list_identities(services: Services, request: Request) -> IdentitiesReply:
    """List the apps whose WeChat users lead to this user, oldest first."""
    return IdentitiesReply.of(services.accounts.identities(bearer_token(request)))


def unbind(services: Services, request: Request, body: UnbindBody) -> UserWrapped:
    """Take the WeChat user of an app away from the account; that WeChat user starts anew.

    Without `appid` it is the app of the session; with `all` it is every app. Needs a login of
    the last ten minutes, or the password. The other sessions of those WeChat users end. No
    unionid binds them to this account again.
    """
    user = services.accounts.unbind(
        bearer_token(request),
        client_of(request),
        appid=body.appid,
        password=body.password,
        everything=body.all,
    )
    return UserWrapped(user=UserReply.of(user))


def change_password(services: Services, request: Request, body: PasswordBody) -> GrantReply:
    """Change the password; the session goes on with its next token, every other one ends.

    Needs a login of the last ten minutes, and the password so far.
    """
    grant = services.accounts.change_password(
        bearer_token(request), body.password, body.new_password, client_of(request)
    )
    return GrantReply.of(grant)


ENDPOINTS = (
    Endpoint(
        "/register",
        register,
        methods=["POST"],
        auth=Auth.OPTIONAL_SESSION,
        raises=[
            InvalidToken,
            SessionExpired,
            SessionEnded,
            SessionSuperseded,
            ReauthenticationRequired,
            UsernameTaken,
            TooManyAttempts,
            Overloaded,
            NotReady,
        ],
        status=HTTPStatus.CREATED,
    ),
    Endpoint(
        "/bind",
        bind,
        methods=["POST"],
        auth=Auth.SESSION,
        raises=[
            TokenError,
            Overloaded,
            NotReady,
            BadCredentials,
            TooManyAttempts,
            UserBlocked,
            ReauthenticationRequired,
            IdentityBound,
        ],
    ),
    Endpoint(
        "/identities",
        list_identities,
        methods=["GET"],
        auth=Auth.SESSION,
        raises=[TokenError, Overloaded, NotReady],
    ),
    Endpoint(
        "/unbind",
        unbind,
        methods=["POST"],
        auth=Auth.SESSION,
        raises=[
            TokenError,
            Overloaded,
            NotReady,
            BadCredentials,
            TooManyAttempts,
            ReauthenticationRequired,
            LastCredential,
        ],
        body_required=False,
    ),
    Endpoint(
        "/password",
        change_password,
        methods=["PUT"],
        auth=Auth.SESSION,
        raises=[
            TokenError,
            Overloaded,
            NotReady,
            BadCredentials,
            TooManyAttempts,
            UserBlocked,
            ReauthenticationRequired,
        ],
    ),
)
