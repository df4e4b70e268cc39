"""The tutorials' ``onLogin``: a code for a ``3rd_session``, by POST or, in older ones, by GET.

These clients look only for ``3rd_session`` in the response; errors are as in our own dialect.
"""

from dataclasses import replace

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from wxsession.services import Services
from wxsession.web import bodies
from wxsession.web.dialects.base import Dialect, log_in_by_code


def _log_in(services: Services, body: bodies.CodeBody) -> ResponseReturnValue:
    grant = log_in_by_code(services, request, body.code).grant
    return {"3rd_session": grant.session_token, "expires_in": grant.expires_in}


def _add_post(routes: Blueprint, services: Services) -> None:
    @routes.post("/onLogin")
    def log_in() -> ResponseReturnValue:
        return _log_in(services, bodies.read_json(bodies.CodeBody, bodies.raw(request)))


def _add_get(routes: Blueprint, services: Services) -> None:
    @routes.get("/onLogin")
    def log_in() -> ResponseReturnValue:
        return _log_in(services, bodies.read(bodies.CodeBody, request.args))


ON_LOGIN = Dialect(
    name="onlogin", token_header="3rd-session", token_field="3rd_session", add_routes=_add_post
)
ON_LOGIN_GET = replace(ON_LOGIN, name="onlogin-get", add_routes=_add_get, credentials_in_url=True)
