"""The book's login: a code, and until the WeChat user is bound, a username and a password too.

All three are in the URL. Any status but 200 is a failure to the client, which reads no more.
"""

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from wxsession.services import Services
from wxsession.web import bodies
from wxsession.web.dialects import Dialect, log_in_by_code

# What is not there yet is sent empty, or as the text that JavaScript makes of it.
_NOTHING = frozenset({"", "undefined"})


class _Login(bodies.LooseBody, bodies.OptionalCredentials):
    code: bodies.Code


def _add_routes(routes: Blueprint, services: Services) -> None:
    @routes.get("/login")
    def log_in() -> ResponseReturnValue:
        given = {name: text for name, text in request.args.items() if text not in _NOTHING}
        body = bodies.read(_Login, given)
        grant = log_in_by_code(services, request, body.code, credentials=body.credentials())
        return {"sessionId": grant.session_token}


BOOK = Dialect(
    name="book", token_header="session-id", add_routes=_add_routes, credentials_in_url=True
)
