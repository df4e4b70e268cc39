"""The endpoints about sessions: check, refresh, log out, list."""

from collections.abc import Mapping
from http import HTTPStatus
from uuid import UUID

from flask import Request

from wxsession.errors import MissingToken, NotReady, Overloaded, TokenError
from wxsession.services import Services
from wxsession.web.api.endpoints import API_KEY_ERRORS, Auth, Endpoint
from wxsession.web.api.proxy import (
    API_KEY_HEADER,
    IDENTITY_HEADERS,
    identity_headers,
    is_for_proxy,
)
from wxsession.web.api.schemas import (
    CheckReply,
    GrantReply,
    LogoutBody,
    SessionReply,
    SessionsReply,
)
from wxsession.web.request import bearer_token, client_of

CHECK = "/check_session"


def check_session(services: Services, request: Request) -> tuple[CheckReply, Mapping[str, str]]:
    """Return whether the session is live, and count that as use.

    A proxy that authenticates its clients here sends its API key as well. Only such a response says
    who the client is, in headers that the proxy passes on to the application behind it.
    """
    for_proxy = is_for_proxy(request, services.api_keys)
    view = services.sessions.check(bearer_token(request), lambda: client_of(request))
    return CheckReply.of(view), identity_headers(view) if for_proxy else {}


def refresh(services: Services, request: Request) -> GrantReply:
    """Exchange the token for the next one; the same token again returns the same next one.

    The old token is accepted until the next one is used. After that it counts as a stolen copy and
    ends the session; at a check it does so only after ten minutes.
    """
    return GrantReply.of(services.sessions.refresh(bearer_token(request), client_of(request)))


def logout(services: Services, request: Request, body: LogoutBody) -> None:
    """End the session, or every session of the user; an unknown token gets the same response."""
    token, client = bearer_token(request), client_of(request)
    services.sessions.end(token, client, everywhere=body.everywhere)


def list_sessions(services: Services, request: Request) -> SessionsReply:
    """List the user's own live sessions, newest first, without tokens; at most 200."""
    own = services.sessions.list_own(bearer_token(request))
    return SessionsReply(sessions=[SessionReply.of(view) for view in own.sessions], more=own.more)


def end_session(services: Services, request: Request, session_id: UUID) -> None:
    """End one of the user's own sessions; any other id gets the same response."""
    services.sessions.end_own(bearer_token(request), session_id, client_of(request))


ENDPOINTS = (
    Endpoint(
        CHECK,
        check_session,
        methods=["GET", "POST"],
        auth=Auth.SESSION,
        raises=[TokenError, Overloaded, NotReady, *API_KEY_ERRORS],
        request_headers={
            API_KEY_HEADER: "the API key of a proxy that asks on behalf of its client"
        },
        response_headers=IDENTITY_HEADERS,
    ),
    Endpoint(
        "/refresh",
        refresh,
        methods=["POST"],
        auth=Auth.SESSION,
        raises=[TokenError, Overloaded, NotReady],
    ),
    Endpoint(
        "/logout",
        logout,
        methods=["POST"],
        auth=Auth.SESSION,
        raises=[MissingToken, Overloaded, NotReady],
        status=HTTPStatus.NO_CONTENT,
        body_required=False,
    ),
    Endpoint(
        "/sessions",
        list_sessions,
        methods=["GET"],
        auth=Auth.SESSION,
        raises=[TokenError, Overloaded, NotReady],
    ),
    Endpoint(
        "/sessions/<uuid:session_id>",
        end_session,
        methods=["DELETE"],
        auth=Auth.SESSION,
        raises=[TokenError, Overloaded, NotReady],
        status=HTTPStatus.NO_CONTENT,
    ),
)
