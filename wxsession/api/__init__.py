"""Our own dialect over HTTP: JSON in, JSON out, the token in the Authorization header."""

from http import HTTPStatus
from uuid import UUID

from flask import Blueprint, Response, request

from wxsession import problems
from wxsession.api.endpoint import Endpoints
from wxsession.api.openapi import document
from wxsession.api.schemas import (
    CheckReply,
    GrantReply,
    HealthReply,
    LoginBody,
    LogoutBody,
    SessionReply,
    SessionsReply,
)
from wxsession.errors import NotReady
from wxsession.health import Health
from wxsession.logins import CodeLogin, LoginService
from wxsession.sessions import SessionService
from wxsession.wire import bearer_token, client_of, presented_token, referring_appid

_TOKEN_ERRORS = (
    "missing_token",
    "invalid_token",
    "session_expired",
    "session_ended",
    "session_superseded",
    "overloaded",
)
_LOGIN_ERRORS = (
    "invalid_request",
    "invalid_code",
    "code_used",
    "user_blocked",
    "wechat_rate_limited",
    "wechat_busy",
    "wechat_unreachable",
    "wechat_timeout",
    "wechat_unintelligible",
    "app_rejected",
    "overloaded",
)


def blueprint(  # noqa: C901 - a list of calls, however long
    sessions: SessionService, logins: LoginService, health: Health, url_prefix: str | None
) -> Blueprint:
    """Return the blueprint that serves these services below `url_prefix`."""
    api = Blueprint("wxsession", __name__, url_prefix=url_prefix)
    problems.register(api)
    calls = Endpoints(api)

    @calls.add("POST", path="/login", body=LoginBody, reply=GrantReply, errors=_LOGIN_ERRORS)
    def login(body: LoginBody) -> GrantReply:
        """Log in by a code of wx.login.

        Without `appid` the app is the one that WeChat names in the Referer if it is one of this
        server's, else the first. The session of a token that comes along is replaced.
        """
        wanted = CodeLogin(
            code=body.code,
            appid=body.appid,
            referring_appid=referring_appid(request),
            presented=presented_token(request),
        )
        return GrantReply.of(logins.by_code(wanted, client_of(request)))

    @calls.add(
        *("GET", "POST"),
        path="/check_session",
        reply=CheckReply,
        errors=_TOKEN_ERRORS,
        needs_token=True,
    )
    def check_session() -> CheckReply:
        """Tell whether the session is live, and count that as use."""
        return CheckReply.of(sessions.check(bearer_token(request)))

    @calls.add("POST", path="/refresh", reply=GrantReply, errors=_TOKEN_ERRORS, needs_token=True)
    def refresh() -> GrantReply:
        """Exchange the token for the next one; asked again with the same, the same again.

        The old token is accepted until the next one was used. Presented later than that, it
        counts as a copy in other hands and ends the session.
        """
        return GrantReply.of(sessions.refresh(bearer_token(request)))

    @calls.add(
        "POST",
        path="/logout",
        body=LogoutBody,
        body_required=False,
        status=HTTPStatus.NO_CONTENT,
        errors=("invalid_request", "missing_token", "overloaded"),
        needs_token=True,
    )
    def logout(body: LogoutBody) -> None:
        """End the session, or every session of the user; the same for an unknown token."""
        sessions.end(bearer_token(request), everywhere=body.everywhere)

    @calls.add("GET", path="/sessions", reply=SessionsReply, errors=_TOKEN_ERRORS, needs_token=True)
    def list_sessions() -> SessionsReply:
        """List the user's own live sessions, newest first, without tokens."""
        own = sessions.list_own(bearer_token(request))
        return SessionsReply(sessions=[SessionReply.of(view) for view in own])

    @calls.add(
        "DELETE",
        path="/sessions/<uuid:session_id>",
        status=HTTPStatus.NO_CONTENT,
        errors=(*_TOKEN_ERRORS, "not_found"),
        needs_token=True,
    )
    def end_session(session_id: UUID) -> None:
        """End one of the user's own sessions; the same for any other id."""
        sessions.end_own(bearer_token(request), session_id)

    @calls.add("GET", path="/healthz", reply=HealthReply)
    def healthz() -> HealthReply:
        """Tell that the process is alive; touches nothing."""
        return HealthReply()

    @calls.add("GET", path="/readyz", reply=HealthReply, errors=("not_ready",))
    def readyz() -> HealthReply:
        """Tell whether the database is reachable and migrated."""
        if not health.is_ready():
            raise NotReady
        return HealthReply()

    page = document(calls.all, mounted_at=url_prefix or "/")

    @api.get("/openapi.json")
    def openapi() -> Response:
        return Response(page, mimetype="application/json")

    return api
