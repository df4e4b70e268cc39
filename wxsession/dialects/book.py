"""The book's login: a code, and until the WeChat user is bound, a username and a password too.

All three are in the URL. Any status but 200 is a failure to the client, which reads no more.
"""

from typing import Self

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from pydantic import model_validator

from wxsession import bodies
from wxsession.accounts import Credentials
from wxsession.dialects import Dialect, Served


class _Login(bodies.LooseBody):
    code: bodies.Code
    username: bodies.Username | None = None
    password: bodies.Password | None = None

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("a username needs a password, and a password a username")
        return self

    def credentials(self) -> Credentials | None:
        if self.username is None or self.password is None:
            return None
        return Credentials(self.username, self.password)


def _add_routes(routes: Blueprint, served: Served) -> None:
    @routes.get("/login")
    def log_in() -> ResponseReturnValue:
        # What is not there yet is sent empty, or as the text that JavaScript makes of it.
        given = {name: text for name, text in request.args.items() if text not in _NOTHING}
        body = bodies.read(_Login, given)
        grant = served.log_in(request, body.code, credentials=body.credentials())
        return {"sessionId": grant.session_token}


_NOTHING = frozenset({"", "undefined"})

BOOK = Dialect(
    name="book", token_header="session-id", add_routes=_add_routes, credentials_in_url=True
)
