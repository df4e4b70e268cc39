"""Sessions in a developer's own Flask application: a decorator, and the session it found."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast
from uuid import UUID

from flask import current_app, g, request
from flask.typing import ResponseReturnValue
from werkzeug.local import LocalProxy

from wxsession.sessions import SessionService, SessionView
from wxsession.wire import bearer_token

EXTENSION = "wxsession"

P = ParamSpec("P")
R = TypeVar("R", bound=ResponseReturnValue)


class CurrentSession:
    """The live session of the request under way; openid, appid, unionid are None without WeChat."""

    def __init__(self, view: SessionView) -> None:
        self._view = view

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


def session_required(view: Callable[P, R]) -> Callable[P, R]:
    """Let a view of the host application run only with a live session.

    Anything else is answered with the 401 of our own dialect, and the view does not run.
    """

    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        sessions: SessionService = current_app.extensions[EXTENSION].sessions
        g.wxsession = CurrentSession(sessions.check(bearer_token(request)))
        return view(*args, **kwargs)

    return guarded


def _current() -> CurrentSession:
    try:
        return cast("CurrentSession", g.wxsession)
    except AttributeError:
        raise RuntimeError("current_session is there inside @session_required alone") from None


current_session = cast("CurrentSession", LocalProxy(_current))
