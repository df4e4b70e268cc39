"""WeChat users as rows: found, made at a first login, and joined by their unionid."""

import logging
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Executable, Select, exists, insert, select, update

from wxsession.audit import Audit
from wxsession.clock import Clock
from wxsession.errors import Crossed, IdentityBound, UserBlocked
from wxsession.storage.database import Database, new_id, upsert
from wxsession.storage.prepared import Param, Statement, prepared
from wxsession.storage.tables import WECHAT, identities, users
from wxsession.users.client import ClientInfo
from wxsession.users.merging import kept_apart, lock_unionid, lock_users, merge
from wxsession.users.phone_numbers import PhoneNumbers
from wxsession.users.user import Identity, User, identity_from, select_identities

_NOBODY = UUID(int=0)

_log = logging.getLogger(__name__)


class WeChatUser(NamedTuple):
    """Who somebody is, as WeChat says; the unionid only if the app is on an open platform."""

    appid: str
    openid: str
    unionid: str | None


class IdentityService:
    """Knows the user of a WeChat user; by a unionid that of all apps, unless told otherwise."""

    def __init__(
        self,
        database: Database,
        phones: PhoneNumbers,
        audit: Audit,
        clock: Clock,
        *,
        link_by_unionid: bool,
    ) -> None:
        self._database = database
        self._phones = phones
        self._audit = audit
        self._clock = clock
        self._link_by_unionid = link_by_unionid

    def identify(
        self,
        connection: Connection,
        who: WeChatUser,
        client: ClientInfo,
        *,
        account_id: UUID | None = None,
    ) -> tuple[Identity, User, bool]:
        """Return the identity and its user, locked, and whether the user is new.

        The user of `account_id`, who is needed besides, is locked with them.

        Raises:
            UserBlocked: the user is disabled, or another one who has the same unionid.
            Crossed: it changed while its locks were waited for; in a transaction of its own it
                can be tried again.
        """
        if account_id is None:  # what most logins need is a single statement
            if found := self._find(connection, who):
                return found
            if who.unionid is None:
                return self._make(connection, who, None)
            # It may have gone to another user while its lock was waited for. That lock is held
            # then, and nothing that comes before it in the order of locks may be waited for.
            if found := self._find(connection, who):
                return found
        if who.unionid is not None and self._link_by_unionid:
            lock_unionid(connection, who.unionid)
        seen = self._look(connection, who)
        identity, user_id, sibling_id = seen
        wanted = {one for one in (user_id, sibling_id, account_id) if one is not None}
        locked = lock_users(connection, wanted) if wanted else {}
        if wanted and self._look(connection, who) != seen:
            raise Crossed
        sibling = _enabled(locked[sibling_id]) if sibling_id else None
        if identity is None or user_id is None:
            return self._make(connection, who, sibling)
        user = _enabled(locked[user_id])
        return identity, self._learn(connection, identity, user, sibling, who, client), False

    def _find(self, connection: Connection, who: WeChatUser) -> tuple[Identity, User, bool] | None:
        """Return the identity and its user, locked, if nothing has to be learnt about it."""
        row = connection.execute(*_lock_identity(who)).first()
        if row is None:
            return None
        identity, user = identity_from(row)
        return identity, _enabled(user), False

    def _look(
        self, connection: Connection, who: WeChatUser
    ) -> tuple[Identity | None, UUID | None, UUID | None]:
        """Return the identity, its user's id, and that of a user whom the unionid makes the same.

        A user who has another WeChat user of this app is not the same: which of them is meant,
        nobody can know here. Of several it is one who is disabled, if there is one.
        """
        row = connection.execute(*_find_identity(appid=who.appid, openid=who.openid)).first()
        identity, user = identity_from(row) if row else (None, None)
        user_id = user.id if user else None
        if who.unionid is None or not self._link_by_unionid:
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
        return identity, user_id, connection.execute(query).scalar()

    def _make(
        self, connection: Connection, who: WeChatUser, sibling: User | None
    ) -> tuple[Identity, User, bool]:
        """Return a new identity with its user.

        The identity is claimed first, and only who got it makes a user: no user is left over.

        Raises:
            Crossed: another login was faster.
        """
        now = self._clock()
        user = sibling or User(new_id())
        identity = Identity(new_id(), *who)
        claiming = upsert(self._database, identities).values(
            id=identity.id,
            user_id=user.id,
            provider=WECHAT,
            appid=who.appid,
            openid=who.openid,
            unionid=who.unionid,
            created_at=now,
        )
        claimed = claiming.on_conflict_do_nothing().returning(identities.c.id)
        if connection.execute(claimed).first() is None:
            raise Crossed
        if sibling is None:
            connection.execute(insert(users).values(id=user.id, created_at=now))
        return identity, user, sibling is None

    def _learn(  # noqa: PLR0913 - two users, what makes them one, and from where
        self,
        connection: Connection,
        identity: Identity,
        user: User,
        sibling: User | None,
        who: WeChatUser,
        client: ClientInfo,
    ) -> User:
        """Note a unionid that came late; return the one user that it makes of two, if it can.

        Two accounts of the business stay two.
        """
        if who.unionid in {None, identity.unionid}:
            return user
        mine = update(identities).where(identities.c.id == identity.id)
        connection.execute(mine.values(unionid=who.unionid))
        if sibling is None:
            return user
        # The account stays; of two users without a username, the one that was there first.
        first, second = sorted((user, sibling), key=lambda one: (one.username is None, one.id))
        try:
            merged = merge(connection, second, first, self._phones, self._clock())
        except IdentityBound:
            _log.warning("users %s and %s have one unionid and cannot be one", first.id, second.id)
            return user
        noted = self._audit.entry("merged", client, user_id=second.id, appid=identity.appid)
        connection.execute(*noted)
        return merged


def _enabled(user: User) -> User:
    if user.disabled_at is not None:
        raise UserBlocked
    return user


def _lock_identity(who: WeChatUser) -> Statement:
    if who.unionid is None:
        return _lock_by_openid(appid=who.appid, openid=who.openid)
    return _lock_by_unionid(appid=who.appid, openid=who.openid, unionid=who.unionid)


def _select(appid: Param, openid: Param) -> Select[Any]:
    return select_identities().where(
        identities.c.provider == WECHAT,
        identities.c.appid == appid,
        identities.c.openid == openid,
    )


@prepared
def _find_identity(*, appid: Param, openid: Param) -> Executable:
    return _select(appid, openid)


@prepared
def _lock_by_openid(*, appid: Param, openid: Param) -> Executable:
    return _select(appid, openid).with_for_update(of=[identities, users])


@prepared
def _lock_by_unionid(*, appid: Param, openid: Param, unionid: Param) -> Executable:
    it = _select(appid, openid).where(identities.c.unionid == unionid)
    return it.with_for_update(of=[identities, users])
