"""The application: settings become services, services become routes and commands."""

import logging
import os
from collections.abc import Mapping

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
from wxsession.web import api, problems, shadows
from wxsession.web.dialects import base, registry
from wxsession.web.guard import GUARD, Guard

EXTENSION = "wxsession"

_HOST = {"WXSESSION_URL_PREFIX": "/auth", "WXSESSION_DIALECTS": "none"}
"""The defaults that are others in a host application, so that nothing of it is hidden."""

_log = logging.getLogger(__name__)


class WxSession:
    """The extension for a developer's own Flask application.

    Takes its settings from `settings`, or from the ``WXSESSION_…`` keys of ``app.config``, or,
    where those have none, from the environment. Adds the endpoints, the commands, and the error
    responses of `session_required`.

    So that nothing of the application is hidden, the endpoints are below ``/auth``, no dialects are
    served, and the commands are those of the group ``flask wxsession``, unless the settings say
    otherwise. What is hidden all the same is logged.
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
        settings = self._settings or Settings.read(_configured(app), dialects=registry.NAMES)
        services = Services.build(settings, clock=self._clock, http=self._http, hasher=self._hasher)
        _serve(app, services)
        app.cli.add_command(cli.group(services))
        shadows.tell(app)


def _serve(app: Flask, services: Services) -> None:
    """Add our endpoints, those of the other dialects, and the guard that knows all of them."""
    settings = services.settings
    app.extensions[EXTENSION] = services
    app.register_error_handler(WxSessionError, problems.from_error)
    app.register_blueprint(api.blueprint(services, settings.url_prefix))
    enabled = registry.enabled(settings)
    for dialect in enabled:
        app.register_blueprint(base.blueprint(dialect, services, settings.url_prefix))
    if exposed := [dialect.name for dialect in enabled if dialect.credentials_in_url]:
        _log.warning(
            "credentials are in URLs, and so in logs, with WXSESSION_DIALECTS=%s",
            ",".join(exposed),
        )
    app.extensions[GUARD] = Guard(services, enabled, default_dialect=registry.default(settings))


def _configured(app: Flask) -> Mapping[str, object]:
    """Return what `app.config` has, then the environment, then the defaults of a host."""
    environment = {name: value for name, value in os.environ.items() if value.strip()}
    return (
        _HOST
        | environment
        | {name: value for name, value in app.config.items() if value is not None}
    )


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
    services = Services.build(settings, clock=clock, http=http, hasher=hasher)
    _serve(app, services)
    for command in cli.commands(services):
        app.cli.add_command(command)
    problems.register(app)
    app.wsgi_app = api.front(app.wsgi_app, services)  # type: ignore[method-assign]
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies)  # type: ignore[method-assign]
    prefix = settings.url_prefix or ""
    if settings.threads >= api.FEWEST_THREADS:
        app.wsgi_app = api.Door(app.wsgi_app, prefix + api.ALIVE, threads=settings.threads)  # type: ignore[method-assign]
    return app
