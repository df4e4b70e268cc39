"""Logins on another device: a PC shows a code, and a phone that is logged in approves it.

The shape is that of RFC 8628: the PC polls with a device code that only it knows, while the user
code, which it shows, opens nothing by itself. Twelve of twenty letters are not guessed in the five
minutes that they are valid, so guesses need not be counted; requests for codes are.
"""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from sqlalchemy import bindparam, delete, or_, select, update

from wxsession.accounts.throttle import Throttle
from wxsession.common.clock import Clock
from wxsession.errors import (
    AccessDenied,
    AuthorizationPending,
    ExpiredToken,
    ReauthenticationRequired,
    SlowDown,
    TokenError,
)
from wxsession.sessions.service import Asking, SessionService
from wxsession.sessions.session import Grant, NewSession
from wxsession.storage.database import Database
from wxsession.storage.statements import Statement, inserting
from wxsession.storage.tables import device_codes
from wxsession.users.client import ClientInfo

LIFETIME: Final = timedelta(minutes=5)
INTERVAL: Final = timedelta(seconds=2)
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628, 6.1: no vowels, so no words
_PART, _PARTS = 4, 3
_APPROVED, _DENIED = "approved", "denied"

_INSERT = inserting(device_codes)
_IT = device_codes.c.device_code_hash == bindparam("its_hash")
_IS_SHOWN = (
    device_codes.c.user_code == bindparam("its_user_code"),
    device_codes.c.decision.is_(None),
    device_codes.c.expires_at > bindparam("now"),
)
_WHO = Statement(
    select(
        device_codes.c.client_address, device_codes.c.user_agent, device_codes.c.expires_at
    ).where(*_IS_SHOWN)
)
_DECIDE = Statement(
    update(device_codes)
    .where(*_IS_SHOWN)
    .values(decision=bindparam("new_decision"), session_id=bindparam("new_session_id"))
    .returning(device_codes.c.user_code)
)
_DECISION = Statement(
    select(device_codes.c.decision, device_codes.c.session_id).where(
        _IT, device_codes.c.expires_at > bindparam("now")
    )
)
_POLL = Statement(
    update(device_codes)
    .where(
        _IT,
        or_(device_codes.c.polled_at.is_(None), device_codes.c.polled_at <= bindparam("long_ago")),
    )
    .values(polled_at=bindparam("now"))
    .returning(device_codes.c.user_code)
)
_TAKE = Statement(
    delete(device_codes)
    .where(_IT, device_codes.c.decision == _APPROVED, device_codes.c.expires_at > bindparam("now"))
    .returning(device_codes.c.session_id)
)
"""Takes an approval: of all who poll at once, one gets the row."""


@dataclass(frozen=True, slots=True)
class DeviceLogin:
    """What a device shows and polls with; both times are in seconds."""

    device_code: str = field(repr=False)
    user_code: str
    expires_in: int
    interval: int


@dataclass(frozen=True, slots=True)
class AskingDevice:
    """Who asks to be logged in, and for how many seconds it still does."""

    client: ClientInfo
    expires_in: int


class DeviceLogins:
    """Lets a session that is live log another device in."""

    def __init__(
        self, database: Database, *, sessions: SessionService, throttle: Throttle, clock: Clock
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._throttle = throttle
        self._clock = clock

    def begin(self, client: ClientInfo) -> DeviceLogin:
        """Return a code for a device to show.

        Raises:
            TooManyAttempts: this address asked for too many recently.
            Overloaded: the database did not answer in time.
        """
        self._throttle.count_device_login(client)
        device_code = urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
        user_code = "".join(secrets.choice(_LETTERS) for _ in range(_PART * _PARTS))
        row = {
            "device_code_hash": _hash(device_code),
            "user_code": user_code,
            "client_address": client.address,
            "user_agent": client.user_agent,
            "session_id": None,
            "decision": None,
            "polled_at": None,
            "expires_at": self._clock() + LIFETIME,
        }
        self._database.run(_INSERT, row)
        shown = "-".join(user_code[at : at + _PART] for at in range(0, len(user_code), _PART))
        return DeviceLogin(device_code, shown, LIFETIME.seconds, INTERVAL.seconds)

    def who_asks(self, presented: str, user_code: str, asking: Asking) -> AskingDevice:
        """Return who shows this code, for the user of a live session to judge.

        Raises:
            TokenError: as for `SessionService.check`.
            ExpiredToken: no device waits with this code any more.
            Overloaded: the database did not answer in time.
        """
        self._sessions.check(presented, asking, with_identity=False)
        now = self._clock()
        rows = self._database.read(_WHO, {"its_user_code": _bare(user_code), "now": now})
        if not rows:
            raise ExpiredToken
        address, agent, expires_at = rows[0]
        return AskingDevice(ClientInfo(address, agent), int((expires_at - now).total_seconds()))

    def decide(self, presented: str, user_code: str, asking: Asking, *, approve: bool) -> None:
        """Let the device that shows this code in as the user of a live session, or turn it away.

        Raises:
            TokenError, ExpiredToken, Overloaded: as for `who_asks`.
            ReauthenticationRequired: the session is that of a web-view, which lets nobody in who
                would stay when it ends.
        """
        view = self._sessions.check(presented, asking, with_identity=False)
        if approve and view.opened_by is not None:
            raise ReauthenticationRequired
        decision = {
            "its_user_code": _bare(user_code),
            "now": self._clock(),
            "new_decision": _APPROVED if approve else _DENIED,
            "new_session_id": view.session_id if approve else None,
        }
        if not self._database.run(_DECIDE, decision):
            raise ExpiredToken

    def poll(self, device_code: str, client: ClientInfo) -> Grant:
        """Return a session of its own for a device whose code was approved, once.

        Raises:
            AuthorizationPending: nobody has decided yet.
            SlowDown: the same, and the device asked sooner than it may.
            AccessDenied: it was turned away, or whoever approved it has logged out.
            ExpiredToken: the code is unknown, was used, or has expired.
            Overloaded: the database did not answer in time.
        """
        now = self._clock()
        it = {"its_hash": _hash(device_code), "now": now}
        rows = self._database.read(_DECISION, it)
        if not rows:
            raise ExpiredToken
        decision, approver_id = rows[0]
        if decision == _DENIED:
            raise AccessDenied
        if decision != _APPROVED:
            polled = self._database.run(_POLL, {**it, "long_ago": now - INTERVAL})
            raise (AuthorizationPending if polled else SlowDown)(retry_after=INTERVAL.seconds)
        with self._database.transaction() as transaction:
            try:
                approver = self._sessions.hold(transaction, approver_id)  # which keeps the cap
            except TokenError:
                raise AccessDenied from None
            if not transaction.run(_TAKE, it):
                raise ExpiredToken
            new = NewSession(approver.user, approver.identity, client, auth_time=approver.auth_time)
            return self._sessions.issue(transaction, new)


def _bare(user_code: str) -> str:
    """Return a code as it is stored, however it was typed."""
    return "".join(letter for letter in user_code.upper() if letter in _LETTERS)


def _hash(device_code: str) -> bytes:
    return hashlib.sha256(device_code.encode()).digest()
