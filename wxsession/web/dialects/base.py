"""What a dialect is, and what dialects share.

A dialect parses its requests, calls the services, and writes its responses; nothing behind it
knows that there are several. A new one is a module beside this one, and a line in `registry`. What
a protocol leaves open (such as an error to clients that read no errors) is as in our own dialect.
"""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint, Request, Response
from werkzeug.exceptions import HTTPException

from wxsession.accounts.authenticator import Credentials
from wxsession.errors import InvalidRequest, WxSessionError
from wxsession.logins.service import CodeLogin, Login
from wxsession.services import Services
from wxsession.users.client import ClientInfo
from wxsession.web import problems
from wxsession.web.bodies import json_field
from wxsession.web.request import client_of, header_of, referring_appid
from wxsession.wechat.open_data import OpenData


def log_in_by_code(
    services: Services,
    request: Request,
    code: str,
    *,
    credentials: Credentials | None = None,
    open_data: OpenData | None = None,
    client: ClientInfo | None = None,
) -> Login:
    """Return a session for a code, of the app in WeChat's Referer if it is one of ours.

    `client` is who logs in, if that is not who sent the request.

    Raises:
        WxSessionError: as `LoginService.by_code` does.
    """
    wanted = CodeLogin(
        code,
        referring_appid=referring_appid(request),
        credentials=credentials,
        open_data=open_data,
    )
    return services.logins.by_code(wanted, client or client_of(request))


def _no_routes(_blueprint: Blueprint, _services: Services) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One protocol."""

    name: str
    """As in WXSESSION_DIALECTS."""
    token_header: str | None = None
    """The header with the session token; None: clients of this dialect use no guarded view."""
    token_field: str | None = None
    """The field of the JSON body that has it, if the header is missing."""
    code_header: str | None = None
    """The header that may have a code of wx.login as well. A guarded view then logs the user in at
    once, and the response has the new token in its `token_header`."""
    refusal: Callable[[WxSessionError], Response] = problems.from_error
    """Formats an error for its clients, in its own routes and in views behind the guard."""
    add_routes: Callable[[Blueprint, Services], None] = _no_routes
    credentials_in_url: bool = False
    """Whether codes or passwords are in the URL, and therefore in the logs of every proxy."""

    def token(self, request: Request) -> str | None:
        """Return the session token of the request, if it has one."""
        token = header_of(request, self.token_header)
        if token is None and self.token_field is not None:
            token = json_field(request, self.token_field)
        return token

    def code(self, request: Request) -> str | None:
        """Return the code to log in with at once, if the request has one."""
        return header_of(request, self.code_header)


def blueprint(dialect: Dialect, services: Services, url_prefix: str | None) -> Blueprint:
    """Return the routes of a dialect, which formats all their errors."""

    def refuse(error: HTTPException) -> Response:
        return dialect.refusal(InvalidRequest.of("body", error.name))

    routes = Blueprint(f"wxsession-{dialect.name}", __name__, url_prefix=url_prefix)
    dialect.add_routes(routes, services)
    problems.register(routes, dialect.refusal, refuse)
    return routes
