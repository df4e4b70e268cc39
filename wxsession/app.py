"""The composition root: settings become parts, parts become services, services become routes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import requests
from argon2 import PasswordHasher
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from wxsession import api, cli, dialects, problems
from wxsession.access_tokens import AccessTokens
from wxsession.accounts import AccountService
from wxsession.administration import Administration
from wxsession.audit import Audit
from wxsession.codes import LoginCodes
from wxsession.db import Database, Limits, connect
from wxsession.dialects import Dialect, Served
from wxsession.dialects.book import BOOK
from wxsession.dialects.code_header import CODE_HEADER
from wxsession.dialects.fetch_code import FETCH_CODE
from wxsession.dialects.onlogin import ON_LOGIN, ON_LOGIN_GET
from wxsession.dialects.wafer import WAFER
from wxsession.dialects.wafer_session_server import WAFER_SESSION_SERVER
from wxsession.errors import SettingsError, WxSessionError
from wxsession.guard import GUARD, Guard
from wxsession.health import Health
from wxsession.identities import IdentityService
from wxsession.introspection import Introspection
from wxsession.key_ring import KeyRing
from wxsession.keys import SecretKeys
from wxsession.leases import Leases
from wxsession.limits import Places
from wxsession.logins import LoginService
from wxsession.open_data import OpenDataReader
from wxsession.passwords import OWASP_MINIMUM, Passwords
from wxsession.phone_numbers import PhoneNumbers
from wxsession.profiles import ProfileService
from wxsession.purge import Purge
from wxsession.resealing import Resealing
from wxsession.sealing import Sealer
from wxsession.sessions import SessionService
from wxsession.settings import ALL, Settings, unknown_dialects
from wxsession.throttle import Throttle
from wxsession.tokens import TokenSigner
from wxsession.wechat.client import WeChatClient, longest_call, transport

Clock = Callable[[], datetime]

EXTENSION = "wxsession"

_log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


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


@dataclass(frozen=True)
class Services:
    """Everything a server can do, wired to one database and one WeChat."""

    settings: Settings
    database: Database
    sessions: SessionService
    logins: LoginService
    accounts: AccountService
    profiles: ProfileService
    throttle: Throttle
    access_tokens: AccessTokens
    ring: KeyRing
    phones: PhoneNumbers
    introspection: Introspection
    audit: Audit
    administration: Administration
    resealing: Resealing
    purge: Purge
    health: Health

    @classmethod
    def build(
        cls,
        settings: Settings,
        *,
        clock: Clock = _now,
        http: requests.Session | None = None,
        hasher: PasswordHasher = OWASP_MINIMUM,
    ) -> "Services":
        """Return the services; `clock`, `http` and `hasher` are the seams of the outside.

        They are the time, WeChat, and how dear a password is to whoever guesses it.
        """
        limits = Limits(
            settings.pool_size,
            settings.database_timeout.total_seconds(),
            settings.prepared_statements,
        )
        database = connect(settings.database_url, limits)
        keys = SecretKeys(settings.secret_keys)
        # What waits, for WeChat or for a processor, leaves a quarter of the threads to the rest.
        budget = Places(settings.threads * 3 // 4)
        calls = settings.wechat_concurrency or max(1, settings.threads // 2)
        wechat = WeChatClient(
            http or transport(calls),
            url=settings.wechat_url,
            timeout=settings.wechat_timeout,
            apps=settings.apps,
            concurrency=calls,
            budget=budget,
        )
        leases = Leases()
        patience = longest_call(settings.wechat_timeout)
        codes = LoginCodes(database, clock, leases, patience=patience, replay=settings.login_replay)
        sealer = Sealer(keys)
        ring = KeyRing(sealer)
        reader = OpenDataReader(ring, clock)
        audit = Audit(database, clock)
        phones = PhoneNumbers(sealer, keys)
        identities = IdentityService(
            database, phones, audit, clock, link_by_unionid=settings.link_by_unionid
        )
        sessions = SessionService(database, TokenSigner(keys), audit, settings, clock)
        throttle = Throttle(
            *(database, keys, audit, clock),
            codes=settings.code_limit,
            registrations=settings.registration_limit,
        )
        accounts = AccountService(
            database,
            Passwords(part=settings.threads // 4, budget=budget, hasher=hasher),
            throttle,
            sessions,
            phones,
            audit,
            clock,
            apps=frozenset(settings.apps),
            link_by_unionid=settings.link_by_unionid,
        )
        access_tokens = AccessTokens(database, wechat, sealer, clock, leases, patience=patience)
        return cls(
            settings=settings,
            database=database,
            sessions=sessions,
            logins=LoginService(
                *(database, wechat, codes, ring, reader, sessions, accounts, audit, identities),
                clock,
                throttle=throttle,
            ),
            accounts=accounts,
            profiles=ProfileService(
                database,
                wechat,
                access_tokens,
                reader,
                ring,
                sessions,
                phones=phones,
                audit=audit,
                clock=clock,
                check_session_keys=settings.check_session_keys,
            ),
            throttle=throttle,
            access_tokens=access_tokens,
            ring=ring,
            phones=phones,
            introspection=Introspection(sessions, settings.api_keys, audit, clock),
            audit=audit,
            administration=Administration(database, sessions, phones, audit, clock),
            resealing=Resealing(database, sealer, phones),
            purge=Purge(database, clock, audit_retention=settings.audit_retention),
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
        app.register_blueprint(
            api.blueprint(
                api.Served(
                    sessions=services.sessions,
                    logins=services.logins,
                    accounts=services.accounts,
                    profiles=services.profiles,
                    phones=services.phones,
                    introspection=services.introspection,
                    health=services.health,
                ),
                settings.url_prefix,
            )
        )
        self._speak(app, services)
        for command in cli.commands(
            services.database,
            services.purge,
            services.resealing,
            services.administration,
            services.profiles,
            settings,
        ):
            app.cli.add_command(command)

    def _speak(self, app: Flask, services: Services) -> None:
        """Mount the routes of the other dialects, and the guard that knows all of them."""
        settings = services.settings
        spoken = _spoken(settings)
        served = Served(
            services.logins, services.sessions, services.profiles, services.introspection
        )
        for dialect in spoken:
            app.register_blueprint(dialects.blueprint(dialect, served, settings.url_prefix))
        if exposed := [dialect.name for dialect in spoken if dialect.credentials_in_url]:
            _log.warning(
                "credentials are in URLs, and so in logs, with WXSESSION_DIALECTS=%s",
                ",".join(exposed),
            )
        named = settings.dialects not in {None, (), (ALL,)}
        unmarked = spoken[0] if named else None
        app.extensions[GUARD] = Guard(served, services.phones, spoken, unmarked=unmarked)


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
    clock: Clock = _now,
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
    app.wsgi_app = api.CheckFirst(  # type: ignore[method-assign]
        app.wsgi_app, prefix + api.CHECK, services.sessions, services.phones
    )
    if settings.threads >= api.FEWEST_THREADS:
        app.wsgi_app = api.Door(app.wsgi_app, prefix + api.ALIVE, threads=settings.threads)  # type: ignore[method-assign]
    return app
