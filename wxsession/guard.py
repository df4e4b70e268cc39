"""Sessions in a developer's own Flask application: a decorator, and the session it found."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast
from uuid import UUID

from flask import current_app, g, request
from flask.typing import ResponseReturnValue
from werkzeug.local import LocalProxy

from wxsession.phone_numbers import PhoneNumbers
from wxsession.sessions import SessionService, SessionView
from wxsession.wechat.phone_number import PhoneNumber
from wxsession.wire import bearer_token

EXTENSION = "wxsession"

P = ParamSpec("P")
R = TypeVar("R", bound=ResponseReturnValue)


class CurrentSession:
    """The live session of the request under way; openid, appid, unionid are None without WeChat."""

    def __init__(self, view: SessionView, phones: PhoneNumbers) -> None:
        self._view = view
        self._phones = phones

    @property
    def user_id(self) -> UUID:
        """The id of the user."""
        return self._view.user.id

    @property
    def session_id(self) -> UUID:
        """The id of the session, which may be shown; it opens nothing."""
        return self._view.session_id

    @property
    def appid(self) -> str | None:
        """The app that the user logged in to."""
        return self._view.identity.appid if self._view.identity else None

    @property
    def openid(self) -> str | None:
        """WeChat's id of the user in that app; not for clients."""
        return self._view.identity.openid if self._view.identity else None

    @property
    def unionid(self) -> str | None:
        """WeChat's id of the user in all apps of one open platform account; not for clients."""
        return self._view.identity.unionid if self._view.identity else None

    @property
    def phone_number(self) -> PhoneNumber | None:
        """The user's whole phone number, if it is known; not for clients and not for logs."""
        return self._phones.open(self._view.user.phone_number_sealed, self._view.user.id)


def session_required(view: Callable[P, R]) -> Callable[P, R]:
    """Let a view of the host application run only with a live session.

    Anything else is answered with the 401 of our own dialect, and the view does not run.
    """

    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        services = current_app.extensions[EXTENSION]
        sessions: SessionService = services.sessions
        view_of_it = sessions.check(bearer_token(request))
        g.wxsession = CurrentSession(view_of_it, services.phones)
        return view(*args, **kwargs)

    return guarded


def _current() -> CurrentSession:
    try:
        return cast("CurrentSession", g.wxsession)
    except AttributeError:
        raise RuntimeError("current_session is there inside @session_required alone") from None


current_session = cast("CurrentSession", LocalProxy(_current))
