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

    Such a session requires a login within the last ten minutes, and gets a new token. Usernames are
    compared after NFKC and case folding, and have 3 to 64 characters; passwords have 8 to 128.
    """
    wanted = Credentials(body.username, body.password)
    grant = services.accounts.register(presented_token(request), wanted, client_of(request))
    return GrantReply.of(grant)


def bind(services: Services, request: Request, body: BindBody) -> GrantReply:
    """Bind the session's WeChat user to an account, by its username and password.

    The user that a first login without an account created is merged into it. The session gets a
    new token; the other sessions of that user end. The same request with the same token, within the
    grace period, returns the same token again. Requires a login by WeChat within the last ten
    minutes; a refresh does not count.
    """
    wanted = Credentials(body.username, body.password)
    grant = services.accounts.bind(bearer_token(request), wanted, client_of(request))
    return GrantReply.of(grant)


def list_identities(services: Services, request: Request) -> IdentitiesReply:
    """List the apps whose WeChat users are bound to this user, oldest first."""
    return IdentitiesReply.of(services.accounts.identities(bearer_token(request)))


def unbind(services: Services, request: Request, body: UnbindBody) -> UserWrapped:
    """Unbind the WeChat user of an app from the account; its next login creates a new user.

    Without `appid` it is the app of the session; with `all` it is every app. Requires a login
    within the last ten minutes, or the password. The other sessions of those WeChat users end. No
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
    """Change the password; the session gets a new token, and every other session ends.

    Requires a login within the last ten minutes; a refresh does not count. If that was a login by
    code, the current password may be left out: so who forgot it sets a new one.
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
