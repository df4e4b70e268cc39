"""The composition root: settings become parts, parts become services, services become routes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import requests
from flask import Flask, Response
from werkzeug.middleware.proxy_fix import ProxyFix

from wxsession import api, cli, problems
from wxsession.codes import LoginCodes
from wxsession.db import Database, connect
from wxsession.errors import WxSessionError
from wxsession.guard import EXTENSION
from wxsession.health import Health
from wxsession.key_ring import KeyRing
from wxsession.keys import SecretKeys
from wxsession.logins import LoginService
from wxsession.purge import Purge
from wxsession.sealing import Sealer
from wxsession.sessions import SessionService
from wxsession.settings import Settings
from wxsession.tokens import TokenSigner
from wxsession.wechat.client import WeChatClient, longest_call, transport
from wxsession.wechat.slots import Slots

Clock = Callable[[], datetime]

_log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Services:
    """Everything a server can do, wired to one database and one WeChat."""

    settings: Settings
    database: Database
    sessions: SessionService
    logins: LoginService
    ring: KeyRing
    purge: Purge
    health: Health

    @classmethod
    def build(
        cls,
        settings: Settings,
        *,
        clock: Clock = _now,
        http: requests.Session | None = None,
    ) -> "Services":
        """Return the services; `clock` and `http` are the seams for time and for WeChat."""
        database = connect(settings.database_url)
        keys = SecretKeys(settings.secret_keys)
        wechat = WeChatClient(
            http or transport(),
            url=settings.wechat_url,
            timeout=settings.wechat_timeout,
            apps=settings.apps,
            slots=Slots(settings.wechat_concurrency, patience=settings.wechat_timeout[0]),
        )
        codes = LoginCodes(
            database,
            clock,
            lease=timedelta(seconds=longest_call(settings.wechat_timeout)),
            replay=settings.login_replay,
        )
        ring = KeyRing(database, Sealer(keys))
        sessions = SessionService(database, TokenSigner(keys), settings, clock)
        return cls(
            settings=settings,
            database=database,
            sessions=sessions,
            logins=LoginService(database, wechat, codes, ring, sessions, clock),
            ring=ring,
            purge=Purge(database, clock),
            health=Health(database),
        )


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
        clock: Clock = _now,
        http: requests.Session | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._http = http
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Mount everything on `app`.

        Raises:
            SettingsError: with every fault of the configuration.
        """
        settings = self._settings or Settings.read(app.config)
        for name in settings.unknown:
            _log.warning("%s is no setting of wxsession", name)
        services = Services.build(settings, clock=self._clock, http=self._http)
        app.extensions[EXTENSION] = services
        app.register_error_handler(WxSessionError, problems.from_error)
        app.register_blueprint(
            api.blueprint(services.sessions, services.logins, services.health, settings.url_prefix)
        )
        for command in cli.commands(services.database, services.purge, services.ring, settings):
            app.cli.add_command(command)


def create_app(
    settings: Settings, *, clock: Clock = _now, http: requests.Session | None = None
) -> Flask:
    """Return the service: an application that is nothing but wxsession.

    Every answer of it is of our own dialect, those to wrong paths and methods included.
    """
    app = Flask("wxsession", static_folder=None)
    app.url_map.merge_slashes = False  # nothing redirects, least of all a request with a token
    WxSession(app, settings=settings, clock=clock, http=http)
    problems.register(app)
    app.after_request(_no_store)
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies)  # type: ignore[method-assign]
    return app


def _no_store(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    return response
