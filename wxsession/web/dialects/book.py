"""The book's login: a code, and until the WeChat user is bound, a username and a password too.

All three are in the URL. Any status other than 200 is a failure; the client reads nothing else.
"""

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from wxsession.services import Services
from wxsession.web import bodies
from wxsession.web.dialects.base import Dialect, log_in_by_code

# What the client does not have yet is sent empty, or as JavaScript writes a missing value.
_NOTHING = frozenset({"", "undefined"})


class _Login(bodies.LooseBody, bodies.OptionalCredentials):
    code: bodies.Code


def _add_routes(routes: Blueprint, services: Services) -> None:
    @routes.get("/login")
    def log_in() -> ResponseReturnValue:
        given = {name: text for name, text in request.args.items() if text not in _NOTHING}
        body = bodies.read(_Login, given)
        login = log_in_by_code(services, request, body.code, credentials=body.credentials())
        return {"sessionId": login.grant.session_token}


BOOK = Dialect(
    name="book", token_header="session-id", add_routes=_add_routes, credentials_in_url=True
)
