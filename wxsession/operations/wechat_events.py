"""What WeChat says about users without being asked: what they take back, and that they go."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import null, or_, select, update

from wxsession.accounts.deletion import Deletion
from wxsession.common.clock import Clock
from wxsession.errors import InvalidRequest, PushRefused
from wxsession.events.audit import SYSTEM, Audit
from wxsession.settings import PushSecrets
from wxsession.storage.database import Database, retry_on_disconnect
from wxsession.storage.tables import identities, users
from wxsession.users.client import ClientInfo
from wxsession.users.user import IS_WECHAT_USER
from wxsession.wechat import push
from wxsession.wechat.apps import Apps
from wxsession.wechat.forwarding import Forwarder
from wxsession.wechat.push import Message, SignedQuery, UserEvent

BY_WECHAT = "wechat"
"""The actor of what WeChat's messages cause."""

_UPDATED, _PHONE_NUMBER_SET = "user.updated", "phone_number.set"
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    _UPDATED: ("nickname", "avatar_url"),
    _PHONE_NUMBER_SET: ("phone_number_sealed", "phone_number_hash"),
}
"""What is emptied, and the event that says so."""

# Source: "授权用户信息变更" in the mini-program documentation. Other numbers are about what is not
# kept here.
_OF_PERMISSION: Mapping[int, str] = {
    6: _UPDATED,
    8: _PHONE_NUMBER_SET,
    19: _UPDATED,  # the nickname of the keyboard
    20: _UPDATED,  # the picture of chooseAvatar
}


class UserEvents:
    """Does what WeChat's events about users ask for; the same event again changes nothing."""

    def __init__(self, database: Database, *, apps: Apps, deletion: Deletion, audit: Audit) -> None:
        self._database = database
        self._apps = apps
        self._deletion = deletion
        self._audit = audit

    def take(self, appid: str, members: Mapping[str, object], *, actor: str) -> bool:
        """Obey a message that somebody else verified; return whether it is about a user.

        Raises:
            InvalidRequest: the app is not one of this server, or the message does not say whom it
                is about.
            Overloaded: the database did not answer in time.
        """
        if appid not in self._apps:
            raise InvalidRequest.of("AppID", "not an app of this server")
        event = push.user_event(Message(appid, "", members))
        if event is not None:
            self.obey(event, actor=actor)
        return event is not None

    def obey(self, event: UserEvent, *, actor: str) -> None:
        """Do what an event asks for; nothing if its user is not known here.

        Raises:
            Overloaded: the database did not answer in time.
        """
        if event.event == push.CANCELLATION:
            self._deletion.delete_wechat_user(event.appid, event.openid, actor=actor)
        elif emptied := _emptied_by(event):
            retry_on_disconnect(lambda: self._empty(event, emptied, actor))

    def _empty(self, event: UserEvent, emptied: Collection[str], actor: str) -> None:
        # The lock of the identity keeps its user from being merged meanwhile.
        owner = select(identities.c.user_id).where(IS_WECHAT_USER).with_for_update()
        whom = {"appid": event.appid, "openid": event.openid}
        with self._database.transaction() as transaction:
            user_id = transaction.execute(owner, whom).scalar()
            for name in emptied:
                filled = or_(*(users.c[column].is_not(None) for column in _COLUMNS[name]))
                emptying = update(users).where(users.c.id == user_id, filled)
                values = dict.fromkeys(_COLUMNS[name], null())
                if transaction.execute(emptying.values(values)).rowcount:
                    self._audit.write(
                        transaction,
                        name,
                        SYSTEM,
                        user_id=user_id,
                        appid=event.appid,
                        reason=event.event,
                        actor=actor,
                    )


class Pushes:
    """Takes WeChat's messages: obeys those about users, and hands on the others.

    `apps` are the apps that have messages, by appid.
    """

    def __init__(
        self,
        events: UserEvents,
        *,
        apps: Mapping[str, PushSecrets],
        forwarder: Forwarder | None,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._events = events
        self._apps = apps
        self._forwarder = forwarder
        self._audit = audit
        self._clock = clock

    @contextmanager
    def counting_refusals(self, appid: str, client: ClientInfo) -> Iterator[None]:
        """Count in the audit that a message is refused in here: somebody may be forging some."""
        try:
            yield
        except (PushRefused, InvalidRequest) as refusal:
            reason = refusal.reason if isinstance(refusal, PushRefused) else refusal.code
            known = appid if appid in self._apps else None
            self._audit.count("push.refused", client, reason=reason, appid=known)
            raise

    def verify(self, appid: str, query: SignedQuery) -> None:
        """Return if WeChat asks whether this is where an app's messages are to be sent.

        Raises:
            PushRefused: WeChat did not sign it, or not lately, or the app has no messages.
        """
        push.ensure_signed(self._secrets(appid), query, self._clock())

    def take(self, appid: str, query: SignedQuery, body: bytes) -> None:
        """Take a message that is signed by WeChat: obey it, or hand it on.

        Raises:
            PushRefused: WeChat did not sign it, or not lately, or for another app.
            InvalidRequest: it is malformed.
            Overloaded: the database did not answer in time.
        """
        message = push.opened(appid, self._secrets(appid), query, body, self._clock())
        event = push.user_event(message)
        if event is not None:
            self._events.obey(event, actor=BY_WECHAT)
        elif self._forwarder is not None and not self._forwarder.hand_on(message):
            self._audit.count("push.lost", SYSTEM, appid=appid)

    def _secrets(self, appid: str) -> PushSecrets:
        if appid not in self._apps:
            raise PushRefused("appid")
        return self._apps[appid]


def _emptied_by(event: UserEvent) -> Collection[str]:
    """Return of what an event empties the user, as the names in `_COLUMNS`."""
    if event.event == push.MODIFICATION:
        return [_UPDATED]
    return sorted({_OF_PERMISSION[number] for number in event.revoked if number in _OF_PERMISSION})
