"""Logins: a WeChat code, a username with its password, or both become a session of ours."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Executable, exists, func, insert, select, update

from wxsession.accounts import Account, AccountService, Credentials
from wxsession.audit import Audit
from wxsession.codes import Claim, LoginCodes
from wxsession.db import Database, insist, new_id, upsert
from wxsession.errors import (
    CodeError,
    CodeUsed,
    DatabaseUnavailable,
    IdentityBound,
    InvalidRequest,
    Overloaded,
    UserBlocked,
    WeChatError,
    WxSessionError,
)
from wxsession.key_ring import KeyRing
from wxsession.merging import lock, merge
from wxsession.models import (
    WECHAT,
    Client,
    Identity,
    User,
    identities,
    identity_from,
    select_identities,
    users,
)
from wxsession.open_data import OpenData, OpenDataReader, profile_of
from wxsession.phone_numbers import PhoneNumbers
from wxsession.sessions import Grant, SessionService
from wxsession.statements import Given, made_once, together
from wxsession.wechat.client import WeChatClient, WeChatIdentity

_ATTEMPTS = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CodeLogin:
    """A login as a device asks for it.

    `appid` is what the request says itself; `referring_appid` is what WeChat's Referer hints at,
    and anybody can write that. `presented` is the session token that came along, if any.
    """

    code: str
    appid: str | None = None
    referring_appid: str | None = None
    presented: str | None = None
    credentials: Credentials | None = None
    """Of the account that the WeChat user is to be bound to by this login."""
    open_data: OpenData | None = None
    """What wx.getUserInfo gave; if it cannot be read, nobody is logged in."""


class LoginService:
    """Turns what proves who somebody is into a session."""

    def __init__(  # noqa: PLR0913 - a login needs each of them
        self,
        database: Database,
        wechat: WeChatClient,
        codes: LoginCodes,
        ring: KeyRing,
        reader: OpenDataReader,
        sessions: SessionService,
        accounts: AccountService,
        audit: Audit,
        phones: PhoneNumbers,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._wechat = wechat
        self._codes = codes
        self._ring = ring
        self._reader = reader
        self._sessions = sessions
        self._accounts = accounts
        self._audit = audit
        self._phones = phones
        self._clock = clock

    def by_code(self, login: CodeLogin, client: Client) -> Grant:
        """Return a session for the WeChat user whose code this is; a first login makes a user.

        WeChat is asked once per code, with no database connection held meanwhile. With
        credentials, the WeChat user is bound to their account in the same transaction; if that
        cannot be, nobody is logged in, and the code is used up.

        Raises:
            InvalidRequest: the appid is not one of ours, or open data have not their form.
            CodeError: WeChat refuses the code or the user, or the user is disabled here.
            AccountError: the credentials are wrong, or the two cannot be bound; wrong ones have
                not cost the code.
            WeChatError: WeChat did not answer the question.
            OpenDataError: the open data that came along cannot be taken.
            Overloaded: the database, or a place among the WeChat calls, was not free in time.
        """
        appid = self._app_of(login)
        if login.open_data is not None:
            login.open_data.ensure_form()  # before it costs the code
        with self._audited(client, appid):
            account = None
            if login.credentials is not None:
                account = self._accounts.verified(login.credentials, client)
            with self._wechat.slots.one():
                claim = self._codes.claim(appid, login.code, client)
                if claim.identity_id is not None:
                    return self._log_in_again(claim.identity_id, login, account, client)
                with self._noted(claim):
                    known = self._wechat.code2session(appid, login.code)
            with self._noted(claim):
                # The code is spent and cannot be asked for again.
                return insist(
                    lambda: self._log_in(claim, appid, known, login, account, client),
                    also_overloaded=True,
                )

    def by_password(
        self, credentials: Credentials, client: Client, *, presented: str | None = None
    ) -> Grant:
        """Return a session of the account; `presented` is the token that came along, if any.

        Raises:
            AccountError: the credentials are wrong, or were too often.
            UserBlocked: the account is disabled.
            Overloaded: the database, or a place for hashing, was not free in time.
        """
        with self._audited(client, None):
            account = self._accounts.verified(credentials, client)
            with self._database.transaction() as connection:
                user = self._accounts.lock(connection, account)[account.user_id]
                return self._sessions.issue(connection, user, None, client, replacing=presented)

    @contextmanager
    def _audited(self, client: Client, appid: str | None) -> Iterator[None]:
        """Write down a refusal; wrong passwords are written down where they are looked at."""
        try:
            yield
        except (CodeError, IdentityBound) as refusal:
            self._audit.note_refusal(client, refusal.code, appid=appid)
            raise

    def _app_of(self, login: CodeLogin) -> str:
        if login.appid is not None:
            if login.appid not in self._wechat.apps:
                raise InvalidRequest([{"field": "appid", "message": "not an app of this server"}])
            return login.appid
        if login.referring_appid is not None and login.referring_appid in self._wechat.apps:
            return login.referring_appid
        return next(iter(self._wechat.apps))

    @contextmanager
    def _noted(self, claim: Claim) -> Iterator[None]:
        """Note what is known about the code when it did not lead to a session."""
        try:
            yield
        except CodeError as refusal:
            self._codes.refuse(claim, refusal)
            raise
        except WeChatError:
            self._codes.release(claim)
            raise
        except DatabaseUnavailable:
            raise  # nor can this be noted; it would be waited for as long again
        except WxSessionError:
            self._codes.refuse(claim, CodeUsed())  # WeChat took it; nothing came of it here
            raise

    def _log_in(  # noqa: PLR0913 - what is known, and what was asked
        self,
        claim: Claim,
        appid: str,
        known: WeChatIdentity,
        login: CodeLogin,
        account: Account | None,
        client: Client,
    ) -> Grant:
        now = self._clock()
        with self._database.transaction() as connection:
            identity, user, new_user = self._identify(connection, appid, known, now)
            if user.disabled_at is not None:
                raise UserBlocked
            if account is not None:
                user = self._bind(connection, identity, user, account, client)
                new_user = False
            new_key = self._ring.addition(
                connection, identity.id, known.session_key, now, is_first=new_user
            )
            settling = self._codes.settling(claim, identity.id)
            together(connection, settling, *(() if new_key is None else (new_key,)))
            user, data = self._profiled(connection, identity, user, login)
            grant = self._sessions.issue(
                connection, user, identity, client, replacing=login.presented, new_user=new_user
            )
            return replace(grant, open_data=data)

    def _log_in_again(
        self, identity_id: UUID, login: CodeLogin, account: Account | None, client: Client
    ) -> Grant:
        """Return one more session for a code that was exchanged a moment ago."""
        query = select_identities().where(identities.c.id == identity_id)
        query = query.with_for_update(of=[identities, users])
        with self._database.transaction() as connection:
            for _ in range(_ATTEMPTS):
                if row := connection.execute(query).first():
                    break  # else it changed users in the moment that its lock was waited for
            else:
                raise Overloaded
            identity, user = identity_from(row)
            if user.disabled_at is not None:
                raise UserBlocked
            if account is not None:
                user = self._bind(connection, identity, user, account, client)
            user, data = self._profiled(connection, identity, user, login)
            grant = self._sessions.issue(
                connection, user, identity, client, replacing=login.presented
            )
            return replace(grant, open_data=data)

    def _profiled(
        self, connection: Connection, identity: Identity, user: User, login: CodeLogin
    ) -> tuple[User, Mapping[str, Any] | None]:
        """Return the user with the profile that came along, and all that came along."""
        if login.open_data is None:
            return user, None
        data = self._reader.read(connection, identity, login.open_data)
        changes: dict[str, Any] = profile_of(data) if data else {}
        if changes:
            connection.execute(update(users).where(users.c.id == user.id).values(changes))
        return user._replace(**changes), data

    def _bind(
        self,
        connection: Connection,
        identity: Identity,
        user: User,
        account: Account,
        client: Client,
    ) -> User:
        locked = self._accounts.lock(connection, account, user.id)
        return self._accounts.attach(
            connection, locked[user.id], locked[account.user_id], client, appid=identity.appid
        )

    def _identify(
        self, connection: Connection, appid: str, known: WeChatIdentity, now: datetime
    ) -> tuple[Identity, User, bool]:
        """Return the identity and its user, locked, and whether the user is new."""
        theirs = _lock_identity(appid=appid, openid=known.openid)
        for _ in range(_ATTEMPTS):
            row = connection.execute(*theirs).first()
            if row is not None:
                identity, user = identity_from(row)
                if known.unionid not in {None, identity.unionid}:
                    user = self._learn_unionid(connection, identity, user, known)
                return identity, user, False
            if made := self._make_identity(connection, appid, known, now):
                return made
        raise Overloaded

    def _make_identity(
        self, connection: Connection, appid: str, known: WeChatIdentity, now: datetime
    ) -> tuple[Identity, User, bool] | None:
        """Return a new identity with its user, or None where another login was faster.

        The identity is claimed first, and only who got it makes a user: no user is left over.
        """
        sibling = self._user_of_unionid(connection, appid, known.unionid)
        user = sibling or User(new_id())
        identity = Identity(new_id(), appid, known.openid, known.unionid)
        claiming = upsert(self._database, identities).values(
            id=identity.id,
            user_id=user.id,
            provider=WECHAT,
            appid=appid,
            openid=known.openid,
            unionid=known.unionid,
            created_at=now,
        )
        claimed = claiming.on_conflict_do_nothing().returning(identities.c.id)
        if connection.execute(claimed).first() is None:
            return None
        if sibling is None:
            connection.execute(insert(users).values(id=user.id, created_at=now))
        return identity, user, sibling is None

    def _user_of_unionid(
        self, connection: Connection, appid: str, unionid: str | None
    ) -> User | None:
        """Return the user who is known by this unionid from another app of ours, locked."""
        if unionid is None:
            return None
        if self._database.is_postgresql:  # SQLite has one writer at a time anyway
            lock = func.pg_advisory_xact_lock(
                func.hashtextextended("wxsession unionid " + unionid, 0)
            )
            connection.execute(select(lock))
        here = identities.alias()
        query = (
            select_identities()
            .where(
                identities.c.unionid == unionid,
                ~exists().where(
                    here.c.user_id == identities.c.user_id,
                    here.c.provider == WECHAT,
                    here.c.appid == appid,
                ),
            )
            .order_by(identities.c.id)
            .limit(1)
        )
        row = connection.execute(query.with_for_update(of=users)).first()
        return identity_from(row)[1] if row else None

    def _learn_unionid(
        self, connection: Connection, identity: Identity, user: User, known: WeChatIdentity
    ) -> User:
        """Note a unionid that came late; return the one user that it makes of two, if it can.

        Two accounts of the business stay two, and so do two users who each have a WeChat user of
        one app: which of them is meant, nobody can know here.
        """
        sibling = self._user_of_unionid(connection, identity.appid, known.unionid)
        mine = update(identities).where(identities.c.id == identity.id)
        connection.execute(mine.values(unionid=known.unionid))
        if sibling is None or sibling.id == user.id:
            return user
        locked = lock(connection, [user.id, sibling.id])
        if sibling.id not in locked:
            return user
        user, sibling = locked[user.id], locked[sibling.id]
        # The account stays; of two users without a username, the one that was there first.
        first, second = sorted((user, sibling), key=lambda one: (one.username is None, one.id))
        if sibling.disabled_at is not None:
            return user
        try:
            return merge(connection, second, first, self._phones)
        except IdentityBound:
            _log.warning("users %s and %s have one unionid and cannot be one", first.id, second.id)
            return user


@made_once
def _lock_identity(*, appid: Given, openid: Given) -> Executable:
    return (
        select_identities()
        .where(
            identities.c.provider == WECHAT,
            identities.c.appid == appid,
            identities.c.openid == openid,
        )
        .with_for_update(of=[identities, users])
    )
