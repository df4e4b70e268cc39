"""WeChat users as rows: found, created at a first login, and linked by their unionid."""

import logging
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, exists, select, update

from wxsession.common.clock import Clock
from wxsession.errors import CodeUsed, Crossed, IdentityBound, UserBlocked
from wxsession.events.audit import Audit
from wxsession.logins.codes import Claim
from wxsession.storage.database import new_id, upsert
from wxsession.storage.statements import Statement
from wxsession.storage.tables import WECHAT, identities, users
from wxsession.storage.transaction import Reply, Transaction
from wxsession.users.client import ClientInfo
from wxsession.users.merging import Users, kept_apart
from wxsession.users.user import (
    IS_WECHAT_USER,
    Identity,
    User,
    identity_from,
    select_identities,
)
from wxsession.wechat.session_keys import SessionKeyStore

_NOBODY = UUID(int=0)

_log = logging.getLogger(__name__)


class WeChatUser(NamedTuple):
    """The ids that WeChat gives a user; a unionid only if the app is on an open platform."""

    appid: str
    openid: str
    unionid: str | None


class Found(NamedTuple):
    """What was asked about a WeChat user before anything is known."""

    row: Reply
    keys: Reply


class Resolved(NamedTuple):
    """A WeChat user as rows; `keys` are its session_keys, if they were read under the lock."""

    identity: Identity
    user: User
    is_new: bool = False
    keys: Reply | None = None

    @property
    def was_found(self) -> bool:
        """Whether it was there as it is now, so that what was asked together with it holds."""
        return self.keys is not None


class Identities:
    """Turns a WeChat identity into rows: an identity, its user, its session_key."""

    def __init__(
        self, *, users: Users, session_keys: SessionKeyStore, audit: Audit, clock: Clock
    ) -> None:
        self._users = users
        self._session_keys = session_keys
        self._audit = audit
        self._clock = clock

    def of(self, transaction: Transaction, claim: Claim) -> WeChatUser:
        """Return the WeChat user of a code that was exchanged a moment ago.

        Raises:
            CodeUsed: this WeChat user was deleted since.
        """
        query = select_identities().where(identities.c.id == claim.identity_id)
        row = transaction.execute(query).first()
        if row is None:
            raise CodeUsed
        identity = identity_from(row)
        return WeChatUser(identity.appid, identity.openid, None)

    def keep_session_key(
        self, transaction: Transaction, resolved: Resolved, session_key: str
    ) -> None:
        """Keep the key of this user's open data; the caller holds the identity's lock."""
        kept = () if resolved.is_new else resolved.keys.rows if resolved.keys else None
        self._session_keys.remember(
            transaction, resolved.identity.id, session_key, self._clock(), kept=kept
        )

    def send_for(self, transaction: Transaction, who: WeChatUser) -> Found:
        """Ask for the identity and its user, to be locked, and for its session_keys.

        They are found if WeChat's ids are all stored already.
        """
        query = _LOCKED if who.unionid is None else _LOCKED_WITH_UNIONID
        row = transaction.send(query, who._asdict())
        return Found(row, self._session_keys.send_for(transaction, who.appid, who.openid))

    def resolve(
        self,
        transaction: Transaction,
        who: WeChatUser,
        client: ClientInfo,
        *,
        found: Found | None = None,
        account_id: UUID | None = None,
    ) -> Resolved:
        """Return the identity and its user, locked; `found` is what `send_for` returned.

        The user `account_id` is locked with them.

        Raises:
            UserBlocked: the user, or another user with the same unionid, is disabled.
            Crossed: the rows changed while this waited for their locks; the whole transaction
                can be tried again.
        """
        if found is not None:
            if (row := found.row.first()) is not None:  # most logins need nothing else
                user = _enabled(self._users.of_identity(row))
                return Resolved(identity_from(row), user, keys=found.keys)
            if who.unionid is None:
                return self._make(transaction, who, None, client)
            # There may be no row because the identity moved to another user while
            # this waited for its lock. The lock is held now, and the unionid's lock, which comes
            # first in the order, must not be waited for: that could deadlock.
            known = transaction.execute(_BY_OPENID, who._asdict()).first()
            if known is not None and identity_from(known).unionid == who.unionid:
                raise Crossed
        if who.unionid is not None and self._users.link_by_unionid:
            self._users.lock_unionid(transaction, who.unionid)
        # Which rows to lock is known only after reading them: read, lock in the common order, and
        # read again. If anything moved in between, the locks are not the right ones.
        seen = self._look(transaction, who)
        identity, user_id, sibling_id = seen
        wanted = {one for one in (user_id, sibling_id, account_id) if one is not None}
        locked = self._users.lock(transaction, wanted) if wanted else {}
        if wanted and self._look(transaction, who) != seen:
            raise Crossed
        sibling = _enabled(locked[sibling_id]) if sibling_id else None
        if identity is None or user_id is None:
            return self._make(transaction, who, sibling, client)
        user = _enabled(locked[user_id])
        user = self._learn(transaction, identity, user, sibling, who, client)
        return Resolved(identity, user)

    def _look(
        self, transaction: Transaction, who: WeChatUser
    ) -> tuple[Identity | None, UUID | None, UUID | None]:
        """Return the identity, its user's id, and the id of a user to merge by the unionid.

        A user with another WeChat user of this app is left out: it is unknown which of the two
        is meant. Of several users, a disabled one comes first, so that nobody gets around that.
        """
        row = transaction.execute(_BY_OPENID, who._asdict()).first()
        identity = identity_from(row) if row else None
        user_id = self._users.of_identity(row).id if row else None
        if who.unionid is None or not self._users.link_by_unionid:
            return identity, user_id, None
        if identity is not None and identity.unionid == who.unionid:
            return identity, user_id, None
        here = identities.alias()
        query = (
            select(identities.c.user_id)
            .join(users, users.c.id == identities.c.user_id)
            .where(
                identities.c.unionid == who.unionid,
                ~exists().where(
                    here.c.user_id == identities.c.user_id,
                    here.c.provider == WECHAT,
                    here.c.appid == who.appid,
                ),
                ~kept_apart(user_id or _NOBODY, who.unionid),
            )
            .order_by(users.c.disabled_at.is_(None), identities.c.id)
            .limit(1)
        )
        return identity, user_id, transaction.execute(query).scalar()

    def _make(
        self, transaction: Transaction, who: WeChatUser, sibling: User | None, client: ClientInfo
    ) -> Resolved:
        """Return a new identity with its user: the sibling, or a new one.

        Raises:
            Crossed: another login created the identity first.
        """
        # The identity first (its foreign key is deferred): only the login that gets it adds a
        # user, so a lost race leaves no user without an identity.
        user = sibling or User(new_id())
        identity = Identity(new_id(), *who)
        claiming = upsert(transaction, identities).values(
            id=identity.id,
            user_id=user.id,
            provider=WECHAT,
            appid=who.appid,
            openid=who.openid,
            unionid=who.unionid,
            created_at=self._clock(),
        )
        claimed = claiming.on_conflict_do_nothing().returning(identities.c.id)
        if transaction.execute(claimed).first() is None:
            raise Crossed
        if sibling is None:
            self._users.add(transaction, user.id)
        else:
            self._audit.write(
                transaction,
                "identity.bound",
                client,
                user_id=user.id,
                appid=who.appid,
                reason="unionid",
            )
        return Resolved(identity, user, is_new=sibling is None)

    def _learn(
        self,
        transaction: Transaction,
        identity: Identity,
        user: User,
        sibling: User | None,
        who: WeChatUser,
        client: ClientInfo,
    ) -> User:
        """Store a unionid that was unknown so far; merge the two users that it links, if possible.

        Two users with usernames are not merged.
        """
        if who.unionid in {None, identity.unionid}:
            return user
        mine = update(identities).where(identities.c.id == identity.id)
        transaction.execute(mine.values(unionid=who.unionid))
        if sibling is None:
            return user
        # The user with a username stays; of two users without one, the older.
        first, second = sorted((user, sibling), key=lambda one: (one.username is None, one.id))
        try:
            merged = self._users.merge(transaction, second, first)
        except IdentityBound:
            _log.warning(
                "users %s and %s have the same unionid but cannot be merged", first.id, second.id
            )
            return user
        self._audit.write(
            transaction,
            "user.merged",
            client,
            user_id=second.id,
            new_user_id=first.id,
            appid=identity.appid,
            reason="unionid",
        )
        return merged


def _enabled(user: User) -> User:
    if user.disabled_at is not None:
        raise UserBlocked
    return user


_BY_OPENID = select_identities().where(IS_WECHAT_USER)
_LOCKING = _BY_OPENID.with_for_update(of=[identities, users])
_LOCKED = Statement(_LOCKING)
_LOCKED_WITH_UNIONID = Statement(_LOCKING.where(identities.c.unionid == bindparam("unionid")))
