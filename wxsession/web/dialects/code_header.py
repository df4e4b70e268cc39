"""Applications whose every request carries a code of wx.login, and a token once there is one.

There are no routes. If a request to a guarded view has no live token, its code is used to log in
at once, and the view's response has the new token.
"""

from wxsession.settings import Settings
from wxsession.web.dialects.base import Dialect

NAME = "code-header"


def code_header(settings: Settings) -> Dialect:
    """Return the dialect, with the two headers that the settings name."""
    return Dialect(name=NAME, token_header=settings.token_header, code_header=settings.code_header)
