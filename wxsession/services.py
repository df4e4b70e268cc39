"""The composition root: settings become parts, and parts become services."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import requests
from argon2 import PasswordHasher

from wxsession.access_tokens import AccessTokens
from wxsession.accounts import AccountService
from wxsession.administration import Administration
from wxsession.audit import Audit
from wxsession.codes import LoginCodes
from wxsession.db import Database, Limits, connect
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
from wxsession.settings import Settings
from wxsession.throttle import Throttle
from wxsession.tokens import TokenSigner
from wxsession.wechat.client import WeChatClient, longest_call, transport

Clock = Callable[[], datetime]


def now() -> datetime:
    """Return what time it is."""
    return datetime.now(UTC)


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
        clock: Clock = now,
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
