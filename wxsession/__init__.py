"""The login and session server for WeChat mini-programs."""

from wxsession.app import WxSession, create_app
from wxsession.errors import SettingsError, WxSessionError
from wxsession.events import signals
from wxsession.events.event import Event
from wxsession.settings import Settings
from wxsession.web.dialects.registry import NAMES as DIALECTS
from wxsession.web.guard import CurrentSession, current_session, require_session, session_required

__all__ = [
    "DIALECTS",
    "CurrentSession",
    "Event",
    "Settings",
    "SettingsError",
    "WxSession",
    "WxSessionError",
    "create_app",
    "current_session",
    "require_session",
    "session_required",
    "signals",
]
