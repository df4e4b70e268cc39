"""Logins: a WeChat code, alone or with a username and password, becomes a session."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wxsession.accounts.authenticator import Account, Credentials
from wxsession.accounts.profile_rows import Profiles
from wxsession.accounts.service import AccountService
from wxsession.common.limits import logins_at_database
from wxsession.errors import CodeUsed
from wxsession.logins.exchange import CodeExchange, Exchanged
from wxsession.logins.identities import Identities, WeChatUser
from wxsession.sessions.service import SessionService
from wxsession.sessions.session import Grant, NewSession
from wxsession.storage.database import Database, retry_on_disconnect
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo
from wxsession.users.user import Identity, User
from wxsession.wechat.open_data import OpenData, ParsedOpenData, profile_of


@dataclass(frozen=True, slots=True)
class CodeLogin:
    """A login as a device requests it.

    `appid` is named by the request itself; `referring_appid` is from WeChat's Referer header,
    which anybody can forge. `presented` is the session token sent with the request, if any.
    """

    code: str
    appid: str | None = None
    referring_appid: str | None = None
    presented: str | None = None
    credentials: Credentials | None = None
    """The account to which this login binds the WeChat user, if any."""
    open_data: OpenData | None = None
    """The result of wx.getUserInfo, if any; if it cannot be read, the login fails."""


@dataclass(frozen=True, slots=True)
class Login:
    """A session that a code was exchanged for, and what WeChat says about its user."""

    grant: Grant
    open_data: Mapping[str, Any] | None = field(default=None, repr=False)
    """Of the open data that were sent with the code, if any."""


class LoginService:
    """Turns a code of wx.login into a session."""

    def __init__(
        self,
        database: Database,
        *,
        exchange: CodeExchange,
        identities: Identities,
        profiles: Profiles,
        accounts: AccountService,
        sessions: SessionService,
    ) -> None:
        self._database = database
        self._exchange = exchange
        self._identities = identities
        self._profiles = profiles
        self._accounts = accounts
        self._sessions = sessions
        self._line = logins_at_database(database.limits.pool_size)

    def by_code(self, login: CodeLogin, client: ClientInfo) -> Login:
        """Return a session for the WeChat user of this code; a first login creates a user.

        WeChat is asked once per code, and no database connection is held during that request.
        With credentials, the WeChat user is bound to their account in the same transaction; if
        that is not possible, the login fails and the code is used up.

        Raises:
            InvalidRequest: the appid is unknown, or the open data are malformed.
            CodeError: WeChat refuses the code or the user, or the user is disabled here.
            AccountError: the credentials are wrong (the code is not used up then), the binding is
                not possible, or too many codes from this address were refused recently.
            WeChatError: WeChat did not give a usable response, or has not for a while.
            OpenDataError: the open data sent with the login cannot be used.
            Overloaded: too many logins are waiting, or the database was not free in time.
        """
        appid = self._exchange.apps.choose(login.appid, login.referring_appid)
        open_data = None
        if login.open_data is not None and not login.open_data.was_refused:
            open_data = ParsedOpenData.of(login.open_data)  # while the code is still good
        with self._exchange.audited(appid, client):
            self._exchange.ensure_worthwhile(appid, login.code, client)
            account = None
            if login.credentials is not None:
                account = self._accounts.verify(login.credentials, client)
            with self._exchange.exchanging(appid, login.code, client) as exchanged:
                # The code is spent and cannot be asked for again.
                return retry_on_disconnect(
                    lambda: self._log_in(
                        appid, exchanged, account, open_data, client, replacing=login.presented
                    )
                )

    def _log_in(
        self,
        appid: str,
        exchanged: Exchanged,
        account: Account | None,
        open_data: ParsedOpenData | None,
        client: ClientInfo,
        *,
        replacing: str | None,
    ) -> Login:
        with self._line.one(), self._database.transaction() as transaction:
            if exchanged.who is not None:
                who = WeChatUser(appid, exchanged.who.openid, exchanged.who.unionid)
            else:
                who = self._identities.of(transaction, exchanged.claim)
            # Asked together, since a known user needs nothing else; an account is locked first.
            found = self._identities.send_for(transaction, who) if account is None else None
            is_full = self._sessions.send_is_full(transaction, who.appid, who.openid)
            resolved = self._identities.resolve(
                transaction,
                who,
                client,
                found=found,
                account_id=account.user_id if account else None,
            )
            identity, user, is_new = resolved.identity, resolved.user, resolved.is_new
            if exchanged.who is None:
                self._ensure_may_repeat(transaction, exchanged, identity, user)
            if account is not None:
                user = self._accounts.bind_identity(transaction, identity, user, account, client)
                is_new = False
            if exchanged.who is not None:
                key = exchanged.who.session_key
                self._identities.keep_session_key(transaction, resolved, key)
                self._exchange.settle(transaction, exchanged, identity.id)
            user, data = self._profiled(transaction, identity, user, open_data, client)
            new = NewSession(
                user,
                identity,
                client,
                replacing=replacing,
                new_user=is_new,
                has_room=resolved.was_found and not is_full.rows,
            )
            return Login(self._sessions.issue(transaction, new), data)

    def _ensure_may_repeat(
        self, transaction: Transaction, exchanged: Exchanged, identity: Identity, user: User
    ) -> None:
        # A code leads to no other identity than before: this one was deleted meanwhile.
        if identity.id != exchanged.claim.identity_id:
            raise CodeUsed
        # Each repetition adds a session row: a client that keeps sending its code is stopped.
        since = exchanged.claim.exchanged_at
        if since is not None and self._sessions.are_enough(transaction, user.id, since):
            raise CodeUsed

    def _profiled(
        self,
        transaction: Transaction,
        identity: Identity,
        user: User,
        open_data: ParsedOpenData | None,
        client: ClientInfo,
    ) -> tuple[User, Mapping[str, Any] | None]:
        """Return the user with the profile of the login's open data, and these data."""
        if open_data is None:
            return user, None
        data = self._profiles.read(transaction, identity, open_data)
        return self._profiles.write(transaction, user, profile_of(data), client), data
