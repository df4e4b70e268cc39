"""Which dialects there are, and which of them a server serves."""

from wxsession.errors import SettingsError
from wxsession.settings import Settings, unknown_dialects
from wxsession.web.dialects import code_header
from wxsession.web.dialects.base import Dialect
from wxsession.web.dialects.book import BOOK
from wxsession.web.dialects.fetch_code import FETCH_CODE
from wxsession.web.dialects.onlogin import ON_LOGIN, ON_LOGIN_GET
from wxsession.web.dialects.wafer import WAFER
from wxsession.web.dialects.wafer_session_server import WAFER_SESSION_SERVER

# The guard looks for a token in this order. FETCH_CODE and BOOK have the same header; clients
# of the second one understand a refusal of the first.
_WITHOUT_SETTINGS = (WAFER, WAFER_SESSION_SERVER, ON_LOGIN, ON_LOGIN_GET, FETCH_CODE, BOOK)

NAMES = (*(dialect.name for dialect in _WITHOUT_SETTINGS), code_header.NAME)
"""The names that WXSESSION_DIALECTS may have."""


def every(settings: Settings) -> tuple[Dialect, ...]:
    """Return all dialects, whether they are served or not."""
    return (*_WITHOUT_SETTINGS, code_header.code_header(settings))


def enabled(settings: Settings) -> tuple[Dialect, ...]:
    """Return the dialects to serve, in the order in which the settings name them.

    Raises:
        SettingsError: they name one that is unknown.
    """
    known = {dialect.name: dialect for dialect in every(settings)}
    match settings.dialects:
        case "safe":
            return tuple(one for one in known.values() if not one.credentials_in_url)
        case "all":
            return tuple(known.values())
        case names:
            if faults := unknown_dialects(names, NAMES):
                raise SettingsError(faults)
            return tuple(known[name] for name in names)


def default(settings: Settings) -> Dialect | None:
    """Return the dialect for requests without any token: the first one that is named."""
    named = not isinstance(settings.dialects, str) and settings.dialects
    return enabled(settings)[0] if named else None
