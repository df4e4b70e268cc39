"""Sessions in a developer's own Flask application: a decorator, and the session it found."""

import functools
import inspect
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Generic, ParamSpec, cast, overload
from uuid import UUID

from flask import Request, Response, after_this_request, current_app, g, request
from typing_extensions import TypeVar
from werkzeug.local import LocalProxy

from wxsession.errors import MissingToken, TokenError, WxSessionError
from wxsession.services import Services
from wxsession.sessions.service import SessionService
from wxsession.sessions.session import SessionView
from wxsession.users.phone_numbers import PhoneNumber
from wxsession.users.user import Identity
from wxsession.web import bodies, problems
from wxsession.web.dialects.base import Dialect, log_in_by_code
from wxsession.web.request import client_of, cookie_token, presented_token

GUARD = "wxsession.guard"

P = ParamSpec("P")
R = TypeVar("R")
U = TypeVar("U", default=object)
"""The application's own user, as the `user_loader` returns it: with None, if it may have none."""
U_co = TypeVar("U_co", default=object, covariant=True)


class CurrentSession(Generic[U_co]):
    """A live session; openid, appid, unionid are None without WeChat.

    The first of these three that is asked for costs a query: few views need them, and each request
    would pay for it.
    """

    def __init__(
        self, view: SessionView, sessions: SessionService, user_loader: Callable[[UUID], U_co]
    ) -> None:
        self._view = view
        self._sessions = sessions
        self._user_loader = user_loader

    @property
    def user_id(self) -> UUID:
        """The id of the user."""
        return self._view.user.id

    @property
    def session_id(self) -> UUID:
        """The id of the session, which may be shown: it is not a token."""
        return self._view.session_id

    @property
    def auth_time(self) -> datetime:
        """When the user last proved who it is, in UTC: a refresh does not count."""
        return self._view.auth_time

    @property
    def created_at(self) -> datetime:
        """When the session began, in UTC."""
        return self._view.created_at

    @cached_property
    def user(self) -> U_co:
        """What `WxSession.user_loader` made of the user's id, once for each request."""
        return self._user_loader(self.user_id)

    @property
    def username(self) -> str | None:
        """The username, if the user has one."""
        return self._view.user.username

    @property
    def nickname(self) -> str | None:
        """The nickname, if the user has one."""
        return self._view.user.nickname

    @property
    def avatar_url(self) -> str | None:
        """The address of the user's picture, if the user has one."""
        return self._view.user.avatar_url

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


class Guard(Generic[U]):
    """Finds the session of a request: in our own dialect, then in the others in their order.

    Last in the cookie of a web-view, with WXSESSION_COOKIE.

    Without a token the dialect cannot be detected; such a request is refused in the form of
    `default_dialect`.
    """

    def __init__(
        self,
        services: Services,
        dialects: Sequence[Dialect],
        *,
        default_dialect: Dialect | None = None,
        user_loader: Callable[[UUID], U],
    ) -> None:
        self._services = services
        self._user_loader = user_loader
        self._dialects = dialects
        self._default_dialect = default_dialect or _OWN

    def admit(
        self, request: Request, *, optional: bool = False, max_age: timedelta | None = None
    ) -> CurrentSession[U] | Response | None:
        """Return the live session of a request, or a refusal in its client's dialect.

        An `optional` session may be missing, but not be dead; one whose login is longer ago than
        `max_age` is refused with ``reauthentication_required``.
        """
        dialect, token, code = self._credentials(request)
        if optional and token is None and code is None:
            return None
        try:
            if code is None:
                view = self._session(request, token)
            else:
                view = self._or_login(request, dialect, token, code)
            if max_age is not None:
                self._services.sessions.ensure_recent(view, within=max_age)
        except WxSessionError as error:
            return dialect.refusal(error)
        return self.current(view)

    def current(self, view: SessionView) -> CurrentSession[U]:
        """Return a session as the application sees it."""
        return CurrentSession(view, self._services.sessions, self._user_loader)

    def _credentials(self, request: Request) -> tuple[Dialect, str | None, str | None]:
        if (token := presented_token(request)) is not None:
            return _OWN, token, None
        for dialect in self._dialects:
            token, code = dialect.token(request), dialect.code(request)
            if token is not None or code is not None:
                return dialect, token, code
        if (token := cookie_token(request, self._services.settings)) is not None:
            return _OWN, token, None
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


@overload
def session_required(view: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def session_required(
    *, optional: bool = False, max_age: timedelta | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def session_required(
    view: Callable[..., Any] | None = None,
    /,
    *,
    optional: bool = False,
    max_age: timedelta | None = None,
) -> Any:
    """Let a view of the host application run only with a live session.

    Otherwise the response is a 401 in the form that the client expects, and the view does not run.
    With `optional` it also runs without a token; `current_session` is false then. With `max_age`
    the login must not be longer ago: otherwise the response is a 403, and the mini-program logs in
    again before it repeats the request.
    """
    if view is None:
        return functools.partial(_guarded, optional=optional, max_age=max_age)
    return _guarded(view, optional=optional, max_age=max_age)


def require_session() -> Response | None:
    """Guard all views of a blueprint: ``blueprint.before_request(require_session)``."""
    return _admit(optional=False, max_age=None)


def _guarded(
    view: Callable[..., Any], *, optional: bool, max_age: timedelta | None
) -> Callable[..., Any]:
    is_async = inspect.iscoroutinefunction(view)

    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        refusal = _admit(optional=optional, max_age=max_age)
        if refusal is not None:
            return refusal
        return (current_app.ensure_sync(view) if is_async else view)(*args, **kwargs)

    return guarded


def _admit(*, optional: bool, max_age: timedelta | None) -> Response | None:
    """Set the session of the current request, or return the refusal."""
    guard: Guard[object] = current_app.extensions[GUARD]
    asked = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - Werkzeug's way to ask the proxy once
    admitted = guard.admit(asked, optional=optional, max_age=max_age)
    if isinstance(admitted, Response):
        return admitted
    g.wxsession = admitted
    return None


def _current() -> CurrentSession[object] | None:
    try:
        return cast("CurrentSession[object] | None", g.wxsession)
    except AttributeError:
        raise RuntimeError(
            "current_session is available inside @session_required only, or after require_session"
        ) from None


current_session = cast("CurrentSession[object]", LocalProxy(_current))
