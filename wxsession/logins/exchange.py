"""The exchange of a code: WeChat is asked once, and the outcome is stored."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from wxsession.accounts.throttle import Throttle
from wxsession.errors import (
    CodeError,
    CodeUsed,
    DatabaseUnavailable,
    IdentityBound,
    InvalidCode,
    UserBlocked,
    WxSessionError,
)
from wxsession.events.audit import Audit
from wxsession.logins.codes import Claim, LoginCodes, ensure_code
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo
from wxsession.wechat.api import WeChatApi
from wxsession.wechat.client import WeChatIdentity


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A code that stands for a WeChat user."""

    claim: Claim
    who: WeChatIdentity | None
    """None if the code was exchanged a moment ago: the claim has its identity."""


class CodeExchange:
    """Exchanges a code of wx.login for a WeChat identity, once, and stores the outcome."""

    def __init__(
        self, wechat: WeChatApi, *, codes: LoginCodes, throttle: Throttle, audit: Audit
    ) -> None:
        self.apps = wechat.apps
        self._wechat = wechat
        self._codes = codes
        self._throttle = throttle
        self._audit = audit

    @contextmanager
    def audited(self, appid: str, client: ClientInfo) -> Iterator[None]:
        """Audit a refusal; wrong passwords are audited where they are verified."""
        try:
            yield
        except (InvalidCode, CodeUsed) as refusal:  # counted: anybody can send any number of them
            self._audit.count("login.failed", client, reason=refusal.code, appid=appid)
            raise
        except (UserBlocked, IdentityBound) as refusal:
            self._audit.note_refusal(client, refusal.code, appid=appid)
            raise

    def ensure_worthwhile(self, appid: str, code: str, client: ClientInfo) -> None:
        """Return if it makes sense to ask WeChat about this code.

        Raises:
            TooManyAttempts: too many codes from this address were refused recently.
            InvalidCode: this cannot be a code.
            WeChatTimeout: WeChat has not responded for a while.
        """
        self._throttle.ensure_codes_allowed(client, appid=appid)
        with self._throttle.counting_codes(client):
            ensure_code(code)
        self._wechat.ensure_usable()

    @contextmanager
    def exchanging(self, appid: str, code: str, client: ClientInfo) -> Iterator[Exchanged]:
        """Exchange the code and run the block, which logs its user in.

        If the block fails, the code is used up; that is stored.

        Raises:
            CodeError: WeChat refuses the code or its user, or the code was used before.
            WeChatError: WeChat did not give a usable response.
            Overloaded: too many logins are waiting, or the database was not free in time.
        """
        with self._wechat.places.one():
            claim = self._codes.claim(appid, code, client)
            if claim.identity_id is not None:
                yield Exchanged(claim, None)
                return
            with self._codes.renewed(claim):
                with self._throttle.counting_codes(client):
                    who = self._ask(claim, appid, code)
                with self._noted(claim):
                    yield Exchanged(claim, who)

    def settle(self, transaction: Transaction, exchanged: Exchanged, identity_id: UUID) -> None:
        """Store the WeChat user of the code, for a repeated request within the replay window."""
        self._codes.settle(transaction, exchanged.claim, identity_id)

    def _ask(self, claim: Claim, appid: str, code: str) -> WeChatIdentity:
        """Return WeChat's identity; store a refusal, and release the claim on any other error."""
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
        """Store why a code that WeChat accepted did not lead to a session."""
        try:
            yield
        except CodeError as refusal:
            self._codes.refuse(claim, refusal)
            raise
        except DatabaseUnavailable:
            raise  # storing this would only wait for the same database once more
        except WxSessionError:
            self._codes.refuse(claim, CodeUsed())  # spent at WeChat, and no session came of it
            raise
