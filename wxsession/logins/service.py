"""Logins: a WeChat code, a username with its password, or both become a session of ours."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, update

from wxsession.accounts.service import Account, AccountService, Credentials
from wxsession.accounts.throttle import Throttle
from wxsession.audit import Audit
from wxsession.clock import Clock
from wxsession.errors import (
    CodeError,
    CodeUsed,
    DatabaseUnavailable,
    IdentityBound,
    InvalidCode,
    InvalidRequest,
    UserBlocked,
    WxSessionError,
)
from wxsession.limits import logins_at_database
from wxsession.logins.codes import Claim, LoginCodes, ensure_code
from wxsession.logins.identities import IdentityService, WeChatUser
from wxsession.sessions.service import SessionService
from wxsession.sessions.session import Grant
from wxsession.storage.database import Database, retry_on_disconnect
from wxsession.storage.prepared import together
from wxsession.storage.tables import identities, users
from wxsession.users.client import ClientInfo
from wxsession.users.user import Identity, User, identity_from, select_identities
from wxsession.wechat.client import WeChatClient, WeChatIdentity
from wxsession.wechat.open_data import OpenData, OpenDataReader, profile_of
from wxsession.wechat.session_keys import SessionKeyStore


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
        ring: SessionKeyStore,
        reader: OpenDataReader,
        sessions: SessionService,
        accounts: AccountService,
        audit: Audit,
        identities_: IdentityService,
        clock: Clock,
        *,
        throttle: Throttle,
    ) -> None:
        self._database = database
        self._wechat = wechat
        self._codes = codes
        self._ring = ring
        self._reader = reader
        self._sessions = sessions
        self._accounts = accounts
        self._audit = audit
        self._identities = identities_
        self._throttle = throttle
        self._clock = clock
        self._line = logins_at_database(database.limits.pool_size)

    def by_code(self, login: CodeLogin, client: ClientInfo) -> Grant:
        """Return a session for the WeChat user whose code this is; a first login makes a user.

        WeChat is asked once per code, with no database connection held meanwhile. With
        credentials, the WeChat user is bound to their account in the same transaction; if that
        cannot be, nobody is logged in, and the code is used up.

        Raises:
            InvalidRequest: the appid is not one of ours, or open data have not their form.
            CodeError: WeChat refuses the code or the user, or the user is disabled here.
            AccountError: the credentials are wrong, or the two cannot be bound; wrong ones have
                not cost the code. Or too many codes from this address were refused lately.
            WeChatError: WeChat did not answer the question, or has not for a while.
            OpenDataError: the open data that came along cannot be taken.
            Overloaded: too many wait already, or the database was not free in time.
        """
        appid = self._app_of(login)
        if login.open_data is not None:
            login.open_data.ensure_form()  # before it costs the code
        with self._audited(client, appid):
            self._throttle.ensure_codes_allowed(client, appid=appid)
            with self._throttle.counting_codes(client):
                ensure_code(login.code)
            self._wechat.ensure_usable()
            account = None
            if login.credentials is not None:
                account = self._accounts.verify(login.credentials, client)
            with self._wechat.budget.one():
                claim = self._codes.claim(appid, login.code, client)
                if claim.identity_id is not None:
                    return retry_on_disconnect(
                        lambda: self._log_in_again(claim, login, account, client)
                    )
                with self._codes.renewed(claim):
                    with self._throttle.counting_codes(client):
                        known = self._exchange(claim, appid, login.code)
                    with self._noted(claim):
                        # The code is spent and cannot be asked for again.
                        return retry_on_disconnect(
                            lambda: self._log_in(claim, appid, known, login, account, client)
                        )

    def by_password(
        self, credentials: Credentials, client: ClientInfo, *, presented: str | None = None
    ) -> Grant:
        """Return a session of the account; `presented` is the token that came along, if any.

        Raises:
            AccountError: the credentials are wrong, or were too often.
            UserBlocked: the account is disabled.
            Overloaded: the database, or a place for hashing, was not free in time.
        """
        with self._audited(client, None):
            account = self._accounts.verify(credentials, client)
            with self._database.transaction() as connection:
                user = self._accounts.lock_account(connection, account)[account.user_id]
                return self._sessions.issue(connection, user, None, client, replacing=presented)

    @contextmanager
    def _audited(self, client: ClientInfo, appid: str | None) -> Iterator[None]:
        """Write down a refusal; wrong passwords are written down where they are looked at."""
        try:
            yield
        except (InvalidCode, CodeUsed) as refusal:  # anybody may send as many as they like
            self._audit.count("login_failed", client, reason=refusal.code, appid=appid)
            raise
        except (UserBlocked, IdentityBound) as refusal:
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

    def _exchange(self, claim: Claim, appid: str, code: str) -> WeChatIdentity:
        """Return what WeChat says, or note that it does not take the code, or was not asked."""
        try:
            return self._wechat.code2session(appid, code)
        except CodeError as refusal:
            self._codes.refuse(claim, refusal)
            raise
        except WxSessionError:
            self._codes.release(claim)
            raise

    @contextmanager
    def _noted(self, claim: Claim) -> Iterator[None]:
        """Note why a code that WeChat took did not lead to a session."""
        try:
            yield
        except CodeError as refusal:
            self._codes.refuse(claim, refusal)
            raise
        except DatabaseUnavailable:
            raise  # nor can this be noted; it would be waited for as long again
        except WxSessionError:
            self._codes.refuse(claim, CodeUsed())  # nothing came of it here
            raise

    def _log_in(  # noqa: PLR0913 - what is known, and what was asked
        self,
        claim: Claim,
        appid: str,
        known: WeChatIdentity,
        login: CodeLogin,
        account: Account | None,
        client: ClientInfo,
    ) -> Grant:
        now = self._clock()
        with self._line.one(), self._database.transaction() as connection:
            identity, user, new_user = self._identities.identify(
                connection,
                WeChatUser(appid, known.openid, known.unionid),
                client,
                account_id=account.user_id if account else None,
            )
            if account is not None:
                user = self._bind(connection, identity, user, account, client)
                new_user = False
            keeping = self._ring.addition(
                connection, identity.id, known.session_key, now, is_first=new_user
            )
            together(connection, self._codes.settling(claim, identity.id), keeping)
            user, data = self._profiled(connection, identity, user, login)
            grant = self._sessions.issue(
                connection, user, identity, client, replacing=login.presented, new_user=new_user
            )
            return replace(grant, open_data=data)

    def _log_in_again(
        self, claim: Claim, login: CodeLogin, account: Account | None, client: ClientInfo
    ) -> Grant:
        """Return one more session for a code that was exchanged a moment ago.

        Raises:
            CodeUsed: as many as a user may have came of it already.
        """
        query = select_identities().where(identities.c.id == claim.identity_id)
        with self._line.one(), self._database.transaction() as connection:
            who, _ = identity_from(connection.execute(query).one())
            identity, user, _ = self._identities.identify(
                connection,
                WeChatUser(who.appid, who.openid, None),
                client,
                account_id=account.user_id if account else None,
            )
            # Else a client that goes on sending it would leave a row each time.
            since = claim.exchanged_at
            if since is not None and self._sessions.are_enough(connection, user.id, since):
                raise CodeUsed
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
        client: ClientInfo,
    ) -> User:
        locked = self._accounts.lock_account(connection, account, user.id)
        return self._accounts.bind_user(
            connection, locked[user.id], locked[account.user_id], client, appid=identity.appid
        )
