"""The calls about sessions: check, refresh, log out, list."""

from collections.abc import Mapping
from http import HTTPStatus
from uuid import UUID

from flask import request

from wxsession.sessions.introspection import Introspection
from wxsession.sessions.service import SessionService
from wxsession.web.api.endpoint import Endpoints
from wxsession.web.api.errors import DATABASE_ERRORS, TOKEN_ERRORS
from wxsession.web.api.introspection import (
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


def add_sessions(
    calls: Endpoints,
    sessions: SessionService,
    introspection: Introspection,
) -> None:
    """Add the calls that an existing session is good for."""

    @calls.add(
        *("GET", "POST"),
        path=CHECK,
        reply=CheckReply,
        errors=(*TOKEN_ERRORS, "invalid_api_key"),
        needs_token=True,
        takes_headers={API_KEY_HEADER: "the API key of a proxy that asks for a client of its own"},
        gives_headers=IDENTITY_HEADERS,
    )
    def check_session() -> tuple[CheckReply, Mapping[str, str]]:
        """Tell whether the session is live, and count that as use.

        A proxy that authenticates its clients here sends its API key as well; it alone is told
        who the client is, in headers that it hands on to the application behind it.
        """
        for_proxy = is_for_proxy(request, introspection)
        view = sessions.check(bearer_token(request), lambda: client_of(request))
        return CheckReply.of(view), identity_headers(view) if for_proxy else {}

    @calls.add("POST", path="/refresh", reply=GrantReply, errors=TOKEN_ERRORS, needs_token=True)
    def refresh() -> GrantReply:
        """Exchange the token for the next one; asked again with the same, the same again.

        The old token is accepted until the next one was used. Presented later than that, it
        counts as a copy in other hands and ends the session; at a check only after ten minutes.
        """
        grant = sessions.refresh(bearer_token(request), client_of(request))
        return GrantReply.of(grant)

    @calls.add(
        "POST",
        path="/logout",
        body=LogoutBody,
        body_required=False,
        status=HTTPStatus.NO_CONTENT,
        errors=("invalid_request", "missing_token", *DATABASE_ERRORS),
        needs_token=True,
    )
    def logout(body: LogoutBody) -> None:
        """End the session, or every session of the user; the same for an unknown token."""
        sessions.end(bearer_token(request), client_of(request), everywhere=body.everywhere)

    @calls.add("GET", path="/sessions", reply=SessionsReply, errors=TOKEN_ERRORS, needs_token=True)
    def list_sessions() -> SessionsReply:
        """List the user's own live sessions, newest first, without tokens; at most 200."""
        own = sessions.list_own(bearer_token(request))
        return SessionsReply(
            sessions=[SessionReply.of(view) for view in own.sessions], more=own.more
        )

    @calls.add(
        "DELETE",
        path="/sessions/<uuid:session_id>",
        status=HTTPStatus.NO_CONTENT,
        errors=(*TOKEN_ERRORS, "not_found"),
        needs_token=True,
    )
    def end_session(session_id: UUID) -> None:
        """End one of the user's own sessions; the same for any other id."""
        sessions.end_own(bearer_token(request), session_id, client_of(request))
