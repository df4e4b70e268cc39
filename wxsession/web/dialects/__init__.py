"""What clients speak that were written before this server: one module for each family of them.

A dialect reads its wire, calls the services, and writes its wire; nothing behind it knows that
there is more than one. A new one is a module here, and a line in the composition root. Where a
wire leaves something open (what an error looks like to a client that reads none), it is as in our
own dialect.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint, Request, Response
from werkzeug.exceptions import HTTPException

from wxsession.accounts.authenticator import Credentials
from wxsession.errors import InvalidRequest, WxSessionError
from wxsession.logins.service import CodeLogin
from wxsession.services import Services
from wxsession.sessions.session import Grant
from wxsession.web import problems
from wxsession.web.bodies import json_field
from wxsession.web.request import client_of, header_of, referring_appid
from wxsession.wechat.open_data import OpenData

_log = logging.getLogger(__name__)


def log_in_by_code(
    services: Services,
    request: Request,
    code: str,
    *,
    credentials: Credentials | None = None,
    open_data: OpenData | None = None,
) -> Grant:
    """Return a session for a code, of the app that WeChat names as the referer if it is ours.

    Raises:
        WxSessionError: as `LoginService.by_code` does.
    """
    wanted = CodeLogin(
        code,
        referring_appid=referring_appid(request),
        credentials=credentials,
        open_data=open_data,
    )
    return services.logins.by_code(wanted, client_of(request))


def _no_routes(_blueprint: Blueprint, _services: Services) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One wire."""

    name: str
    """As in WXSESSION_DIALECTS."""
    token_header: str | None = None
    """Where a request has its session token; None: no client of this wire asks a guarded view."""
    token_field: str | None = None
    """Where its JSON body has it, if the header is not there."""
    code_header: str | None = None
    """Where it may have a code of wx.login as well. A guarded view then logs it in on the spot,
    and the new token goes back in the answer's own `token_header`."""
    refusal: Callable[[WxSessionError], Response] = problems.from_error
    """Word an error for its clients: for its own routes, and for views that the guard keeps."""
    add_routes: Callable[[Blueprint, Services], None] = _no_routes
    credentials_in_url: bool = False
    """Whether codes or passwords are in the URL, and so in the logs of every proxy."""

    def token(self, request: Request) -> str | None:
        """Return the session token where this wire has it, if it is there."""
        token = header_of(request, self.token_header)
        if token is None and self.token_field is not None:
            token = json_field(request, self.token_field)
        return token

    def code(self, request: Request) -> str | None:
        """Return the code to log in with on the spot, if there may be one and is one."""
        return header_of(request, self.code_header)


def blueprint(dialect: Dialect, services: Services, url_prefix: str | None) -> Blueprint:
    """Return the routes of a dialect; whatever goes wrong in them is worded by it."""
    routes = Blueprint(f"wxsession-{dialect.name}", __name__, url_prefix=url_prefix)
    dialect.add_routes(routes, services)
    routes.register_error_handler(WxSessionError, dialect.refusal)

    @routes.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Response:
        return dialect.refusal(InvalidRequest.of("body", error.name))

    @routes.errorhandler(Exception)
    def fail(error: Exception) -> Response:
        _log.error("unforeseen", exc_info=error)
        return dialect.refusal(WxSessionError())

    routes.after_request(problems.protected)
    return routes
