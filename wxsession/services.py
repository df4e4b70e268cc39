"""The composition root: settings become parts, and parts become services."""

from dataclasses import dataclass

import requests
from argon2 import PasswordHasher

from wxsession.accounts.passwords import OWASP_MINIMUM, Passwords
from wxsession.accounts.service import AccountService
from wxsession.accounts.throttle import Throttle
from wxsession.audit import Audit
from wxsession.clock import Clock, now
from wxsession.crypto import Sealer, SecretKeys
from wxsession.limits import Places
from wxsession.logins.codes import LoginCodes
from wxsession.logins.identities import IdentityService
from wxsession.logins.service import LoginService
from wxsession.operations.administration import Administration
from wxsession.operations.health import Health
from wxsession.operations.purge import Purge
from wxsession.operations.reseal import Resealing
from wxsession.profiles import ProfileService
from wxsession.sessions.introspection import Introspection
from wxsession.sessions.service import SessionService
from wxsession.sessions.tokens import TokenSigner
from wxsession.settings import Settings
from wxsession.storage.database import Database, Limits, connect
from wxsession.storage.leases import Leases
from wxsession.users.phone_numbers import PhoneNumbers
from wxsession.wechat.access_tokens import AccessTokens
from wxsession.wechat.client import WeChatClient, longest_call, transport
from wxsession.wechat.open_data import OpenDataReader
from wxsession.wechat.session_keys import SessionKeyStore


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
    ring: SessionKeyStore
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
        ring = SessionKeyStore(sealer)
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
