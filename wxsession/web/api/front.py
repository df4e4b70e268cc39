"""The hot endpoints, without Flask's dispatch.

Every request of a mini-program is a check, and sessions begin, go on and end by three more calls.
These are answered in front of Flask, from the same table of endpoints; a test compares what both
send. A check is written without models as well; its plain twin is `check_session`. Any other
request, and one that is not a plain check, is passed on. What is spared here, of about 155 µs of
CPU for a whole check, gunicorn and the kernel included (``python -m benchmarks.parts``):

=========================  =========  ==========
instead of                 µs         of a check
=========================  =========  ==========
Flask's dispatch           70 to 100  45 to 65 %
JSON by models, see below  3 to 6     2 to 4 %
=========================  =========  ==========
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from flask import Request, Response
from pydantic_core import to_json
from werkzeug.exceptions import HTTPException

from wxsession.common.clock import rfc3339
from wxsession.common.current_request import current_request
from wxsession.errors import WxSessionError
from wxsession.services import Services
from wxsession.sessions.session import SessionView
from wxsession.web import problems
from wxsession.web.api.endpoints import Endpoint, respond
from wxsession.web.api.proxy import API_KEY_HEADER
from wxsession.web.request import ROUTE, bearer_in, client_of

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


class Front:
    """A WSGI application that answers some endpoints, and passes on everything else."""

    def __init__(
        self,
        application: "WSGIApplication",
        services: Services,
        *,
        prefix: str,
        check: str,
        endpoints: Sequence[Endpoint],
    ) -> None:
        self.application = application
        self._services = services
        self._sessions = services.sessions
        self._check_path = prefix + check
        self._endpoints = {
            (prefix + endpoint.path, method): endpoint
            for endpoint in endpoints
            for method in endpoint.methods
        }

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Respond, or pass on."""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path == self._check_path:
            environ[ROUTE] = path
            if method in _METHODS and _FOR_PROXY not in environ:
                return self._check(environ, start_response)
        elif endpoint := self._endpoints.get((path, method)):
            environ[ROUTE] = path
            return self._respond(endpoint, Request(environ))(environ, start_response)
        return self.application(environ, start_response)

    def _respond(self, endpoint: Endpoint, request: Request) -> Response:
        try:
            response = respond(endpoint, self._services, request)
        except WxSessionError as error:
            return problems.from_error(error, _languages(request.environ))
        except HTTPException as error:
            return problems.from_http(error, _languages(request.environ))
        except Exception as error:  # noqa: BLE001 - as the blueprint does
            return problems.from_error(problems.unforeseen(error), _languages(request.environ))
        return problems.protected(response)

    def _check(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        try:
            token = bearer_in(environ.get("HTTP_AUTHORIZATION", ""))
            view = self._sessions.check(
                token, lambda: client_of(Request(environ)), with_identity=False
            )
            body = check_json(view)
        except WxSessionError as error:
            return problems.from_error(error, _languages(environ))(environ, start_response)
        except Exception as error:  # noqa: BLE001 - as the blueprint does
            refusal = problems.from_error(problems.unforeseen(error), _languages(environ))
            return refusal(environ, start_response)
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            *problems.PROTECTION.items(),
        ]
        if (facts := current_request.get()) is not None:
            headers.append((problems.REQUEST_ID, facts.request_id))
            facts.status, facts.length = 200, len(body)
        start_response("200 OK", headers)
        return [body]


def _languages(environ: "WSGIEnvironment") -> str:
    languages: str = environ.get("HTTP_ACCEPT_LANGUAGE", "")
    return languages
