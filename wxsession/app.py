"""The application: settings become services, services become routes and commands."""

import logging

import requests
from argon2 import PasswordHasher
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from wxsession import cli
from wxsession.accounts.passwords import OWASP_MINIMUM
from wxsession.clock import Clock, now
from wxsession.errors import WxSessionError
from wxsession.services import Services
from wxsession.settings import Settings
from wxsession.web import api, problems
from wxsession.web.dialects import base, registry
from wxsession.web.guard import GUARD, Guard

EXTENSION = "wxsession"

_log = logging.getLogger(__name__)


class WxSession:
    """The extension for a developer's own Flask application.

    Takes its settings from `settings`, or from the ``WXSESSION_…`` keys of ``app.config``.
    Adds the endpoints, the commands, and the error responses of `session_required`.
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
        """Add everything to `app`.

        Raises:
            SettingsError: with every fault of the configuration.
        """
        settings = self._settings or Settings.read(app.config, dialects=registry.NAMES)
        services = Services.build(settings, clock=self._clock, http=self._http, hasher=self._hasher)
        app.extensions[EXTENSION] = services
        app.register_error_handler(WxSessionError, problems.from_error)
        app.register_blueprint(api.blueprint(services, settings.url_prefix))
        self._mount_dialects(app, services)
        for command in cli.commands(services):
            app.cli.add_command(command)

    def _mount_dialects(self, app: Flask, services: Services) -> None:
        """Add the routes of the other dialects, and the guard that knows all of them."""
        settings = services.settings
        enabled = registry.enabled(settings)
        for dialect in enabled:
            app.register_blueprint(base.blueprint(dialect, services, settings.url_prefix))
        if exposed := [dialect.name for dialect in enabled if dialect.credentials_in_url]:
            _log.warning(
                "credentials are in URLs, and so in logs, with WXSESSION_DIALECTS=%s",
                ",".join(exposed),
            )
        app.extensions[GUARD] = Guard(services, enabled, default_dialect=registry.default(settings))


def create_app(
    settings: Settings,
    *,
    clock: Clock = now,
    http: requests.Session | None = None,
    hasher: PasswordHasher = OWASP_MINIMUM,
) -> Flask:
    """Return the service: an application that is nothing but wxsession.

    A path or method that no endpoint and no dialect has is refused in our own dialect.
    """
    app = Flask("wxsession", static_folder=None)
    app.url_map.merge_slashes = False  # nothing redirects, least of all a request with a token
    WxSession(app, settings=settings, clock=clock, http=http, hasher=hasher)
    problems.register(app)
    services: Services = app.extensions[EXTENSION]
    app.wsgi_app = api.front(app.wsgi_app, services)  # type: ignore[method-assign]
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies)  # type: ignore[method-assign]
    prefix = settings.url_prefix or ""
    if settings.threads >= api.FEWEST_THREADS:
        app.wsgi_app = api.Door(app.wsgi_app, prefix + api.ALIVE, threads=settings.threads)  # type: ignore[method-assign]
    return app
