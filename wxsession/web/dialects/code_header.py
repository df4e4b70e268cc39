"""Applications whose every request carries a code of wx.login, and a token once there is one.

There are no routes. A request to a guarded view that has no live token is logged in by its code
on the spot, and the view's own answer takes the new token back.
"""

from wxsession.settings import Settings
from wxsession.web.dialects.base import Dialect

NAME = "code-header"


def code_header(settings: Settings) -> Dialect:
    """Return the dialect, with the two headers that the settings name."""
    return Dialect(name=NAME, token_header=settings.token_header, code_header=settings.code_header)
