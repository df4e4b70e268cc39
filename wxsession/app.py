"""The application: settings become services, services become routes and commands."""

import logging
from dataclasses import replace

import requests
from argon2 import PasswordHasher
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from wxsession import cli
from wxsession.accounts.passwords import OWASP_MINIMUM
from wxsession.clock import Clock, now
from wxsession.errors import SettingsError, WxSessionError
from wxsession.services import Services
from wxsession.settings import ALL, Settings, unknown_dialects
from wxsession.web import api, dialects, problems
from wxsession.web.dialects import Dialect
from wxsession.web.dialects.book import BOOK
from wxsession.web.dialects.code_header import CODE_HEADER
from wxsession.web.dialects.fetch_code import FETCH_CODE
from wxsession.web.dialects.onlogin import ON_LOGIN, ON_LOGIN_GET
from wxsession.web.dialects.wafer import WAFER
from wxsession.web.dialects.wafer_session_server import WAFER_SESSION_SERVER
from wxsession.web.guard import GUARD, Guard

EXTENSION = "wxsession"

_log = logging.getLogger(__name__)


# The guard looks for who asks in this order. FETCH_CODE and BOOK have one header, and what the
# first answers with it tells as much to clients of the other.
_DIALECTS = (
    WAFER,
    WAFER_SESSION_SERVER,
    ON_LOGIN,
    ON_LOGIN_GET,
    FETCH_CODE,
    BOOK,
    CODE_HEADER,
)
DIALECTS = tuple(dialect.name for dialect in _DIALECTS)
"""The names that WXSESSION_DIALECTS may have."""


class WxSession:
    """The extension for a developer's own Flask application.

    Takes its settings from `settings`, or from the ``WXSESSION_…`` keys of ``app.config``.
    Mounts the calls, the commands, and the problem answers of `session_required`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        settings: Settings | None = None,
        clock: Clock = now,
        http: requests.Session | None = None,
        hasher: PasswordHasher = OWASP_MINIMUM,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._http = http
        self._hasher = hasher
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Mount everything on `app`.

        Raises:
            SettingsError: with every fault of the configuration.
        """
        settings = self._settings or Settings.read(app.config, dialects=DIALECTS)
        for name in settings.unknown:
            _log.warning("%s is no setting of wxsession", name)
        services = Services.build(settings, clock=self._clock, http=self._http, hasher=self._hasher)
        app.extensions[EXTENSION] = services
        app.register_error_handler(WxSessionError, problems.from_error)
        app.register_blueprint(api.blueprint(services, settings.url_prefix))
        self._speak(app, services)
        for command in cli.commands(services):
            app.cli.add_command(command)

    def _speak(self, app: Flask, services: Services) -> None:
        """Mount the routes of the other dialects, and the guard that knows all of them."""
        settings = services.settings
        spoken = _spoken(settings)
        for dialect in spoken:
            app.register_blueprint(dialects.blueprint(dialect, services, settings.url_prefix))
        if exposed := [dialect.name for dialect in spoken if dialect.credentials_in_url]:
            _log.warning(
                "credentials are in URLs, and so in logs, with WXSESSION_DIALECTS=%s",
                ",".join(exposed),
            )
        named = settings.dialects not in {None, (), (ALL,)}
        unmarked = spoken[0] if named else None
        app.extensions[GUARD] = Guard(services, spoken, unmarked=unmarked)


def _spoken(settings: Settings) -> tuple[Dialect, ...]:
    """Return the dialects that the settings want, in the order that they are named in.

    Raises:
        SettingsError: there is no such dialect.
    """
    if settings.dialects is None:
        wanted = [dialect.name for dialect in _DIALECTS if not dialect.credentials_in_url]
    elif settings.dialects == (ALL,):
        wanted = list(DIALECTS)
    elif faults := unknown_dialects(settings.dialects, DIALECTS):
        raise SettingsError(faults)
    else:
        wanted = list(settings.dialects)
    known = {dialect.name: dialect for dialect in _DIALECTS}
    known[CODE_HEADER.name] = replace(
        CODE_HEADER, token_header=settings.token_header, code_header=settings.code_header
    )
    return tuple(known[name] for name in wanted)


def create_app(
    settings: Settings,
    *,
    clock: Clock = now,
    http: requests.Session | None = None,
    hasher: PasswordHasher = OWASP_MINIMUM,
) -> Flask:
    """Return the service: an application that is nothing but wxsession.

    What no call and no dialect answers, a wrong path or method, is answered in our own dialect.
    """
    app = Flask("wxsession", static_folder=None)
    app.url_map.merge_slashes = False  # nothing redirects, least of all a request with a token
    WxSession(app, settings=settings, clock=clock, http=http, hasher=hasher)
    problems.register(app)
    app.after_request(problems.protected)
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies)  # type: ignore[method-assign]
    services: Services = app.extensions[EXTENSION]
    prefix = settings.url_prefix or ""
    app.wsgi_app = api.FastCheck(  # type: ignore[method-assign]
        app.wsgi_app, prefix + api.CHECK, services.sessions
    )
    if settings.threads >= api.FEWEST_THREADS:
        app.wsgi_app = api.Door(app.wsgi_app, prefix + api.ALIVE, threads=settings.threads)  # type: ignore[method-assign]
    return app
