"""The check, without Flask and without models.

Every request of every mini-program is a check. The plain twin is `check_session` in the blueprint:
it asks the same service, and a test compares what both send. A request that is not a plain check
is passed on to it. What is spared here, of about 155 µs of CPU for a whole check, gunicorn and the
kernel included (``python -m benchmarks.parts``):

=========================  =========  ==========
instead of                 µs         of a check
=========================  =========  ==========
Flask's dispatch           70 to 100  45 to 65 %
JSON by models, see below  3 to 6     2 to 4 %
=========================  =========  ==========
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Request
from pydantic_core import to_json

from wxsession.errors import WxSessionError
from wxsession.sessions.service import SessionService
from wxsession.sessions.session import SessionView
from wxsession.web import problems
from wxsession.web.api.proxy import API_KEY_HEADER
from wxsession.web.api.schemas import rfc3339
from wxsession.web.request import bearer_in, client_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_METHODS = frozenset({"GET", "POST"})
_FOR_PROXY = "HTTP_" + API_KEY_HEADER.upper().replace("-", "_")


def check_json(view: SessionView) -> bytes:
    """Return the JSON of `CheckReply.of`."""
    # It spares less than the 4 % that a specialisation has to. But one record for all checks and
    # itsdangerous for the signature took 2 to 3 %; with the models it would be 5 to 6 %.
    user = view.user
    return to_json(
        {
            "active": True,
            "expires_in": view.expires_in,
            "absolute_expires_at": rfc3339(view.absolute_expires_at),
            "superseded": view.superseded,
            "user": {
                "id": user.id,
                "username": user.username,
                "nickname": user.nickname,
                "avatar_url": user.avatar_url,
                "phone_number": user.phone.masked() if user.phone else None,
                "new": False,
            },
        }
    )


class FastCheck:
    """A WSGI application that responds to checks at `path`, and passes on everything else."""

    def __init__(
        self,
        application: "WSGIApplication",
        path: str,
        sessions: SessionService,
    ) -> None:
        self.application = application
        self._path = path
        self._sessions = sessions

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Respond, or pass on."""
        if (
            environ["PATH_INFO"] != self._path
            or environ["REQUEST_METHOD"] not in _METHODS
            or _FOR_PROXY in environ
        ):
            return self.application(environ, start_response)
        try:
            token = bearer_in(environ.get("HTTP_AUTHORIZATION", ""))
            view = self._sessions.check(
                token, lambda: client_of(Request(environ)), with_identity=False
            )
            body = check_json(view)
        except WxSessionError as error:
            return problems.from_error(error)(environ, start_response)
        except Exception as error:  # noqa: BLE001 - as the blueprint does
            return problems.from_error(problems.unforeseen(error))(environ, start_response)
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            *problems.PROTECTION.items(),
        ]
        start_response("200 OK", headers)
        return [body]
