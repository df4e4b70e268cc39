"""The application: settings become services, services become routes and commands."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Generic, NoReturn, cast
from uuid import UUID
from weakref import WeakSet

import requests
from argon2 import PasswordHasher
from flask import Flask, current_app
from werkzeug.middleware.proxy_fix import ProxyFix

from wxsession import cli
from wxsession.accounts.passwords import OWASP_MINIMUM
from wxsession.common.clock import Clock, now
from wxsession.errors import WxSessionError
from wxsession.events.feed import Page
from wxsession.services import EXTENSION, Services
from wxsession.settings import Settings
from wxsession.users.merging import merged_into
from wxsession.web import api, problems, shadows
from wxsession.web.dialects import base, registry
from wxsession.web.guard import GUARD, CurrentSession, Guard, U, current_session
from wxsession.web.instrumentation import Instrumentation, identify, note_routes

_HOST = {"WXSESSION_URL_PREFIX": "/auth", "WXSESSION_DIALECTS": "none"}
"""The defaults that are others in a host application, so that nothing of it is hidden."""

_log = logging.getLogger(__name__)


class WxSession(Generic[U]):
    """The extension for a developer's own Flask application.

    Its type may name what the `user_loader` returns, ``wxsession: WxSession[User] = WxSession()``;
    then type checkers know what `current_session.user` is.

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
        self._user_loader: Callable[[UUID], U] | None = None
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
        settings = self._settings or Settings.read(_configured(app), dialects=registry.NAMES)
        services = Services.build(
            settings,
            clock=clock or self._clock,
            http=http or self._http,
            hasher=self._hasher,
            sender=app,
        )
        self._apps.add(app)
        identify(app, trusts_proxy=settings.trusted_proxies > 0, exporter=services.exporter)
        _serve(app, services, self._load_user)
        app.cli.add_command(cli.group(services))
        shadows.tell(app)

    def user_loader(self, load: Callable[[UUID], U]) -> Callable[[UUID], U]:
        """Let a function make `current_session.user` of a user's id: ``@wxsession.user_loader``."""
        self._user_loader = load
        return load

    @property
    def current_session(self) -> CurrentSession[U]:
        """The `current_session` of the package, whose `user` has the type of the application's."""
        return cast("CurrentSession[U]", current_session)

    def check(self, token: str) -> CurrentSession[U]:
        """Return the live session of a token that came by another way than a request of Flask's.

        That counts as use, as a request does.

        Raises:
            TokenError: the token is not accepted.
            Overloaded: the database did not answer in time.
        """
        services = self.services
        view = services.sessions.check(token, with_identity=False)
        return self._guard.current(view)

    def session(self, session_id: UUID) -> CurrentSession[U] | None:
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

    def events(self, after: str | None = None, *, limit: int = 100) -> Page:
        """Return what happened after a cursor, or from the beginning, oldest first.

        Store each page's `next`, in the transaction in which you do what its events ask for, and
        begin with it: then no event is missed or seen twice, whenever your process is killed. A
        signal is faster, but may be missed.

        Raises:
            InvalidRequest: `after` is not what an earlier page had as `next`.
            Overloaded: the database did not answer in time.
        """
        return self.services.feed.read(after, limit=limit)

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
    def _guard(self) -> Guard[U]:
        guard: Guard[U] = self._app.extensions[GUARD]
        return guard

    @property
    def _app(self) -> Flask:
        if current_app and EXTENSION in current_app.extensions:
            return current_app
        if len(self._apps) == 1:
            return next(iter(self._apps))
        raise RuntimeError("use this inside `with app.app_context()`")

    def _load_user(self, user_id: UUID) -> U:
        if self._user_loader is None:
            _load_nobody(user_id)
        return self._user_loader(user_id)


def _serve(app: Flask, services: Services, user_loader: Callable[[UUID], object]) -> None:
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
    app.extensions[GUARD] = Guard(
        services, enabled, default_dialect=registry.default(settings), user_loader=user_loader
    )


def _load_nobody(_user_id: UUID) -> NoReturn:
    raise RuntimeError("current_session.user needs a function: @wxsession.user_loader")


def _configured(app: Flask) -> Mapping[str, object]:
    """Return what `app.config` has, then the environment, then the defaults of a host.

    Neither None nor an empty string is a value: it must not undo the defaults of a host.
    """
    return _HOST | {
        name: value
        for source in (os.environ, app.config)
        for name, value in source.items()
        if value is not None and not (isinstance(value, str) and not value.strip())
    }


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
    services = Services.build(settings, clock=clock, http=http, hasher=hasher, sender=app)
    _serve(app, services, _load_nobody)
    for command in cli.commands(services):
        app.cli.add_command(command)
    problems.register(app)
    note_routes(app)
    app.wsgi_app = api.front(app.wsgi_app, services)  # type: ignore[method-assign]
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies)  # type: ignore[method-assign]
    prefix = settings.url_prefix or ""
    if settings.threads >= api.FEWEST_THREADS:
        app.wsgi_app = api.Door(app.wsgi_app, prefix + api.ALIVE, threads=settings.threads)  # type: ignore[method-assign]
    app.wsgi_app = Instrumentation(  # type: ignore[method-assign]
        app.wsgi_app,
        trusts_proxy=settings.trusted_proxies > 0,
        access_log=settings.access_log,
        exporter=services.exporter,
    )
    return app
