"""The composition root: builds the parts from the settings, and the services from the parts."""

from dataclasses import dataclass

import requests
from argon2 import PasswordHasher

from wxsession.accounts.api_keys import ApiKeys
from wxsession.accounts.authenticator import Authenticator
from wxsession.accounts.deletion import Deletion
from wxsession.accounts.passwords import OWASP_MINIMUM, Passwords
from wxsession.accounts.profile_rows import Profiles
from wxsession.accounts.profiles import ProfileService
from wxsession.accounts.service import AccountService
from wxsession.accounts.throttle import Throttle
from wxsession.common import metrics
from wxsession.common.clock import Clock, now
from wxsession.common.crypto import Sealer, SecretKeys
from wxsession.common.limits import Places
from wxsession.events.audit import Audit
from wxsession.events.feed import Feed
from wxsession.events.search import EventSearch
from wxsession.events.webhooks import Sender
from wxsession.logins.codes import LoginCodes
from wxsession.logins.devices import DeviceLogins
from wxsession.logins.exchange import CodeExchange
from wxsession.logins.identities import Identities
from wxsession.logins.service import LoginService
from wxsession.operations.administration import Administration
from wxsession.operations.admins.passkeys import Passkeys
from wxsession.operations.admins.register import Admins
from wxsession.operations.admins.signing_in import AdminSessions
from wxsession.operations.database_checks import DatabaseChecks
from wxsession.operations.delivery import Delivery
from wxsession.operations.directory import Directory
from wxsession.operations.doctor import Doctor
from wxsession.operations.export import Export
from wxsession.operations.figures import Figures
from wxsession.operations.health import Health
from wxsession.operations.identities import IdentityAdministration
from wxsession.operations.lookup import Lookup
from wxsession.operations.passwords import PasswordAdministration
from wxsession.operations.prometheus import Exporter
from wxsession.operations.purge import Purge
from wxsession.operations.reseal import Resealing
from wxsession.operations.user_search import UserSearch
from wxsession.operations.wechat_events import Pushes, UserEvents
from wxsession.sessions.introspection import Introspection
from wxsession.sessions.service import SessionService
from wxsession.sessions.signed_tokens import SignedTokens
from wxsession.sessions.tickets import Tickets
from wxsession.sessions.tokens import TokenSigner
from wxsession.settings import Settings
from wxsession.storage.database import Database, Limits, connect
from wxsession.storage.leases import Leases
from wxsession.users.merging import Users
from wxsession.users.phone_numbers import PhoneNumbers
from wxsession.wechat.access_tokens import AccessTokens
from wxsession.wechat.api import WeChatApi
from wxsession.wechat.apps import Apps
from wxsession.wechat.call_counts import CallCounts
from wxsession.wechat.client import WeChatClient, keep_queries_out_of_logs, longest_call, transport
from wxsession.wechat.forwarding import Forwarder
from wxsession.wechat.key_checks import KeyChecks
from wxsession.wechat.open_data import OpenDataReader
from wxsession.wechat.session_keys import SessionKeyStore

EXTENSION = "wxsession"
"""Where an application has its services, among its extensions."""


@dataclass(frozen=True)
class Services:
    """Everything a server can do, wired to one database and one WeChat."""

    settings: Settings
    database: Database
    sessions: SessionService
    logins: LoginService
    device_logins: DeviceLogins
    accounts: AccountService
    deletion: Deletion
    profiles: ProfileService
    authenticator: Authenticator
    throttle: Throttle
    users: Users
    access_tokens: AccessTokens
    session_keys: SessionKeyStore
    key_checks: KeyChecks
    phones: PhoneNumbers
    introspection: Introspection
    api_keys: ApiKeys
    signed_tokens: SignedTokens
    tickets: Tickets
    audit: Audit
    feed: Feed
    event_search: EventSearch
    delivery: Delivery
    directory: Directory
    user_search: UserSearch
    lookup: Lookup
    export: Export
    administration: Administration
    admins: Admins
    admin_sessions: AdminSessions
    passkeys: Passkeys
    passwords: PasswordAdministration
    identities: IdentityAdministration
    user_events: UserEvents
    pushes: Pushes
    resealing: Resealing
    purge: Purge
    health: Health
    doctor: Doctor
    figures: Figures
    exporter: Exporter | None

    @classmethod
    def build(
        cls,
        settings: Settings,
        *,
        clock: Clock = now,
        http: requests.Session | None = None,
        hasher: PasswordHasher = OWASP_MINIMUM,
        sender: object = None,
    ) -> "Services":
        """Build the services; `sender` is that of their signals.

        `clock`, `http` (the session for requests, most of them to WeChat) and `hasher` replace the
        outside world in tests: the time, WeChat, and the cost of hashing a password.
        """
        limits = Limits(
            settings.pool_size,
            settings.database_timeout.total_seconds(),
            settings.prepared_statements,
        )
        database = connect(settings.database_url, limits)
        keys = SecretKeys(settings.secret_keys)
        sealer = Sealer(keys)
        phones = PhoneNumbers(sealer, keys)
        audit = Audit(database, keys, clock, sender=sender)
        feed = Feed(database)
        users = Users(phones, clock, link_by_unionid=settings.link_by_unionid)

        # Requests that wait for WeChat or hash a password leave a quarter of the threads to others.
        places = Places(settings.threads * 3 // 4)
        calls = settings.wechat_concurrency or max(1, settings.threads // 2)
        apps = Apps(settings.apps)
        keep_queries_out_of_logs()
        http = http or transport(calls)
        client = WeChatClient(
            http,
            url=settings.wechat_url,
            timeout=settings.wechat_timeout,
            apps=apps,
            concurrency=calls,
        )
        client.report_to(CallCounts(database, clock).add)
        leases = Leases(patience=longest_call(settings.wechat_timeout))
        access_tokens = AccessTokens(database, client, sealer=sealer, clock=clock, leases=leases)
        wechat = WeChatApi(client, access_tokens=access_tokens, apps=apps, places=places)
        session_keys = SessionKeyStore(sealer)
        key_checks = KeyChecks(
            database,
            session_keys=session_keys,
            wechat=wechat,
            audit=audit,
            clock=clock,
            enabled=settings.check_session_keys,
        )
        profiles = Profiles(OpenDataReader(session_keys, clock), phones, audit)

        sessions = SessionService(
            database,
            TokenSigner(keys),
            phones=phones,
            audit=audit,
            settings=settings,
            clock=clock,
        )
        throttle = Throttle(
            database,
            keys,
            audit=audit,
            clock=clock,
            codes=settings.code_limit,
            registrations=settings.registration_limit,
        )
        passwords = Passwords(part=settings.threads // 4, budget=places, hasher=hasher)
        authenticator = Authenticator(
            database,
            passwords=passwords,
            throttle=throttle,
            users=users,
            audit=audit,
            clock=clock,
        )
        accounts = AccountService(
            database,
            authenticator=authenticator,
            sessions=sessions,
            users=users,
            audit=audit,
            apps=apps,
        )
        deletion = Deletion(
            database,
            authenticator=authenticator,
            sessions=sessions,
            users=users,
            audit=audit,
            clock=clock,
        )
        codes = LoginCodes(database, clock=clock, leases=leases, replay=settings.login_replay)
        logins = LoginService(
            database,
            exchange=CodeExchange(wechat, codes=codes, throttle=throttle, audit=audit),
            identities=Identities(users=users, session_keys=session_keys, audit=audit, clock=clock),
            profiles=profiles,
            accounts=accounts,
            sessions=sessions,
        )
        resealing = Resealing(database, sealer, phones)
        checks = DatabaseChecks(database, settings=settings, resealing=resealing)
        profile_service = ProfileService(
            database,
            sessions=sessions,
            profiles=profiles,
            wechat=wechat,
            key_checks=key_checks,
        )
        admin_sessions = AdminSessions(
            database,
            passwords=passwords,
            throttle=throttle,
            sealer=sealer,
            audit=audit,
            clock=clock,
        )
        directory = Directory(database, phones=phones, clock=clock)
        receiver = settings.push_forward
        user_events = UserEvents(database, apps=apps, deletion=deletion, audit=audit)
        pushes = Pushes(
            user_events,
            apps=settings.push,
            forwarder=receiver and Forwarder(receiver, http=http, clock=clock),
            audit=audit,
            clock=clock,
        )
        return cls(
            settings=settings,
            database=database,
            sessions=sessions,
            logins=logins,
            device_logins=DeviceLogins(database, sessions=sessions, throttle=throttle, clock=clock),
            accounts=accounts,
            deletion=deletion,
            profiles=profile_service,
            authenticator=authenticator,
            throttle=throttle,
            users=users,
            access_tokens=access_tokens,
            session_keys=session_keys,
            key_checks=key_checks,
            phones=phones,
            introspection=Introspection(sessions, clock),
            api_keys=ApiKeys(settings.api_keys, throttle, audit),
            signed_tokens=SignedTokens(
                sessions, keys, lifetime=settings.access_token_lifetime, clock=clock
            ),
            tickets=Tickets(
                database,
                keys,
                sessions=sessions,
                audiences=settings.ticket_audiences,
                clock=clock,
            ),
            audit=audit,
            feed=feed,
            event_search=EventSearch(database, audit),
            delivery=Delivery(
                database,
                feed=feed,
                webhooks=settings.webhooks,
                sender=Sender(to_private=settings.webhooks_to_private),
                audit=audit,
                clock=clock,
            ),
            directory=directory,
            user_search=UserSearch(directory),
            lookup=Lookup(database, phones=phones, audit=audit),
            export=Export(database, sessions=sessions, phones=phones, audit=audit, clock=clock),
            administration=Administration(database, sessions=sessions, audit=audit, clock=clock),
            admins=Admins(database, sealer=sealer, throttle=throttle, audit=audit, clock=clock),
            admin_sessions=admin_sessions,
            passkeys=Passkeys(database, keys, sessions=admin_sessions, audit=audit, clock=clock),
            passwords=PasswordAdministration(
                database,
                authenticator=authenticator,
                sessions=sessions,
                users=users,
                audit=audit,
                clock=clock,
            ),
            identities=IdentityAdministration(
                database, accounts=accounts, users=users, sessions=sessions, audit=audit
            ),
            user_events=user_events,
            pushes=pushes,
            resealing=resealing,
            purge=Purge(
                database, clock, audit_retention=settings.audit_retention, deletion=deletion
            ),
            health=Health(database),
            doctor=Doctor(settings, database=checks, wechat=client),
            figures=Figures(database, apps=apps, clock=clock),
            exporter=_exporter(settings, database, places, passwords),
        )


def _exporter(
    settings: Settings, database: Database, places: Places, passwords: Passwords
) -> Exporter | None:
    """Return the exporter of this process, if there is to be one."""
    if settings.metrics is None:
        return None
    for name, level in {
        metrics.LOGINS_WAITING: lambda: places.taken,
        metrics.LOGINS_LIMIT: lambda: places.count,
        metrics.PASSWORD_QUEUE: lambda: passwords.waiting,
        metrics.CONNECTIONS_IN_USE: database.in_use,
        metrics.CONNECTIONS_LIMIT: lambda: settings.pool_size,
    }.items():
        metrics.NUMBERS.show_level(name, level)
    return Exporter(database, settings.metrics)
