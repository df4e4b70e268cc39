"""The check, without Flask: its dispatch would cost more than everything else together.

Every request of every mini-program is a check. The same service, model and problems respond here
and in the blueprint. A request that is not a plain check is passed on.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Request

from wxsession.errors import WxSessionError
from wxsession.sessions.service import SessionService
from wxsession.web import problems
from wxsession.web.api.proxy import API_KEY_HEADER
from wxsession.web.api.schemas import CheckReply
from wxsession.web.request import bearer_in, client_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_METHODS = frozenset({"GET", "POST"})
_FOR_PROXY = "HTTP_" + API_KEY_HEADER.upper().replace("-", "_")


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
            view = self._sessions.recognise(token, lambda: client_of(Request(environ)))
            body = CheckReply.json_of(view)
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
