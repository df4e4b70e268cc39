"""The application: settings become services, services become routes and commands."""

import logging
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakSet

import requests
from argon2 import PasswordHasher
from flask import Flask, current_app
from werkzeug.middleware.proxy_fix import ProxyFix

from wxsession import cli
from wxsession.accounts.passwords import OWASP_MINIMUM
from wxsession.clock import Clock, now
from wxsession.errors import WxSessionError
from wxsession.services import Services
from wxsession.settings import Settings
from wxsession.users.merging import merged_into
from wxsession.web import api, problems
from wxsession.web.dialects import base, registry
from wxsession.web.guard import GUARD, CurrentSession, Guard, UserLoader

EXTENSION = "wxsession"

L = TypeVar("L", bound=UserLoader)

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
        self._user_loader: UserLoader | None = None
        self._apps: WeakSet[Flask] = WeakSet()  # a factory in tests makes many
        if app is not None:
            self.init_app(app)

    def init_app(
        self, app: Flask, *, clock: Clock | None = None, http: requests.Session | None = None
    ) -> None:
        """Add everything to `app`; `clock` and `http` replace those of the constructor.

        Raises:
            SettingsError: with every fault of the configuration.
        """
        settings = self._settings or Settings.read(app.config, dialects=registry.NAMES)
        services = Services.build(
            settings, clock=clock or self._clock, http=http or self._http, hasher=self._hasher
        )
        self._apps.add(app)
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
        app.extensions[GUARD] = Guard(
            services,
            enabled,
            default_dialect=registry.default(settings),
            user_loader=self._load_user,
        )

    def user_loader(self, load: L) -> L:
        """Let a function make `current_session.user` of a user's id: ``@wxsession.user_loader``."""
        self._user_loader = load
        return load

    def check(self, token: str) -> CurrentSession:
        """Return the live session of a token that came by another way than a request of Flask's.

        That counts as use, as a request does.

        Raises:
            TokenError: the token is not accepted.
            Overloaded: the database did not answer in time.
        """
        services = self.services
        view = services.sessions.check(token, with_identity=False)
        return self._guard.current(view)

    def session(self, session_id: UUID) -> CurrentSession | None:
        """Return a session if it is still live, for a socket or a job that remembers its id.

        It does not count as use.

        Raises:
            Overloaded: the database did not answer in time.
        """
        view = self.services.sessions.look_up(session_id)
        return None if view is None else self._guard.current(view)

    def current_id(self, user_id: UUID) -> UUID:
        """Return the id that a user has now: another one if the user was merged.

        Raises:
            Overloaded: the database did not answer in time.
        """
        with self.services.database.statement() as connection:
            return merged_into(connection, user_id) or user_id

    @property
    def services(self) -> Services:
        """What the extension consists of, in the current application.

        Raises:
            RuntimeError: no application context is active, and there is not exactly one
                application that this was added to.
        """
        services: Services = self._app.extensions[EXTENSION]
        return services

    @property
    def _guard(self) -> Guard:
        guard: Guard = self._app.extensions[GUARD]
        return guard

    @property
    def _app(self) -> Flask:
        if current_app and EXTENSION in current_app.extensions:
            return current_app
        if len(self._apps) == 1:
            return next(iter(self._apps))
        raise RuntimeError("use this inside `with app.app_context()`")

    def _load_user(self, user_id: UUID) -> Any:
        if self._user_loader is None:
            raise RuntimeError("current_session.user needs a function: @wxsession.user_loader")
        return self._user_loader(user_id)


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
