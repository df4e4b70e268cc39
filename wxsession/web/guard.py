"""Sessions in a developer's own Flask application: a decorator, and the session it found."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from typing import ParamSpec, TypeVar, cast
from uuid import UUID

from flask import Request, Response, after_this_request, current_app, g, request
from flask.typing import ResponseReturnValue
from werkzeug.local import LocalProxy

from wxsession.errors import MissingToken, TokenError, WxSessionError
from wxsession.services import Services
from wxsession.sessions.service import SessionService
from wxsession.sessions.session import SessionView
from wxsession.users.phone_numbers import PhoneNumber
from wxsession.users.user import Identity
from wxsession.web import bodies, problems
from wxsession.web.dialects.base import Dialect, log_in_by_code
from wxsession.web.request import client_of, presented_token

GUARD = "wxsession.guard"

P = ParamSpec("P")
R = TypeVar("R", bound=ResponseReturnValue | Awaitable[ResponseReturnValue])


class CurrentSession:
    """The live session of the current request; openid, appid, unionid are None without WeChat.

    The first of these three that is asked for costs a query: few views need them, and each request
    would pay for it.
    """

    def __init__(self, view: SessionView, sessions: SessionService) -> None:
        self._view = view
        self._sessions = sessions

    @property
    def user_id(self) -> UUID:
        """The id of the user."""
        return self._view.user.id

    @property
    def session_id(self) -> UUID:
        """The id of the session, which may be shown: it is not a token."""
        return self._view.session_id

    @property
    def appid(self) -> str | None:
        """The app that the user logged in to."""
        return self._identity.appid if self._identity else None

    @property
    def openid(self) -> str | None:
        """WeChat's id of the user in that app; not for clients."""
        return self._identity.openid if self._identity else None

    @property
    def unionid(self) -> str | None:
        """WeChat's id of the user in all apps of one open platform account; not for clients."""
        return self._identity.unionid if self._identity else None

    @property
    def phone_number(self) -> PhoneNumber | None:
        """The user's whole phone number, if it is known; not for clients and not for logs."""
        return self._view.user.phone

    @cached_property
    def _identity(self) -> Identity | None:
        return self._sessions.identity_of(self._view)


_OWN = Dialect(name="own")


class Guard:
    """Finds the session of a request: in our own dialect, then in the others in their order.

    Without a token the dialect cannot be detected; such a request is refused in the form of
    `default_dialect`.
    """

    def __init__(
        self,
        services: Services,
        dialects: Sequence[Dialect],
        *,
        default_dialect: Dialect | None = None,
    ) -> None:
        self._services = services
        self._dialects = dialects
        self._default_dialect = default_dialect or _OWN

    def admit(self, request: Request) -> CurrentSession | Response:
        """Return the live session of a request, or a refusal in its client's dialect."""
        dialect, token, code = self._credentials(request)
        try:
            if code is None:
                view = self._session(request, token)
            else:
                view = self._or_login(request, dialect, token, code)
        except WxSessionError as error:
            return dialect.refusal(error)
        return CurrentSession(view, self._services.sessions)

    def _credentials(self, request: Request) -> tuple[Dialect, str | None, str | None]:
        if (token := presented_token(request)) is not None:
            return _OWN, token, None
        for dialect in self._dialects:
            token, code = dialect.token(request), dialect.code(request)
            if token is not None or code is not None:
                return dialect, token, code
        return self._default_dialect, None, None

    def _session(self, request: Request, token: str | None) -> SessionView:
        if token is None:
            raise MissingToken
        return self._services.sessions.check(token, lambda: client_of(request), with_identity=False)

    def _or_login(
        self, request: Request, dialect: Dialect, token: str | None, code: str
    ) -> SessionView:
        """Return the session of the token; without a live one, log in by the code."""
        try:
            return self._session(request, token)
        except TokenError:
            code = bodies.read(bodies.CodeBody, {"code": code}).code
        grant = log_in_by_code(self._services, request, code).grant
        header = dialect.token_header
        assert header is not None  # noqa: S101 - with a code there is one, see `Dialect`

        @after_this_request
        def hand_over(response: Response) -> Response:
            response.headers[header] = grant.session_token
            response.headers["Cache-Control"] = problems.NO_STORE
            return response

        return self._services.sessions.check(grant.session_token, with_identity=False)


def session_required(view: Callable[P, R]) -> Callable[P, R]:
    """Let a view of the host application run only with a live session.

    Otherwise the response is a 401 in the form that the client expects, and the view does not
    run.
    """
    is_async = inspect.iscoroutinefunction(view)

    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        guard: Guard = current_app.extensions[GUARD]
        admitted = guard.admit(request._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001 - Werkzeug's way to ask the proxy once
        if isinstance(admitted, Response):
            return cast("R", admitted)
        g.wxsession = admitted
        if is_async:
            return current_app.ensure_sync(view)(*args, **kwargs)  # type: ignore[no-any-return]
        return view(*args, **kwargs)

    return guarded


def _current() -> CurrentSession:
    try:
        return cast("CurrentSession", g.wxsession)
    except AttributeError:
        raise RuntimeError("current_session is available inside @session_required only") from None


current_session = cast("CurrentSession", LocalProxy(_current))
