"""What can go wrong, in our own words: a stable code and facts, never a status.

::

    WxSessionError
    ├── SettingsError            every fault of a configuration at once
    ├── InvalidRequest           the body is not what the call takes
    │   └── ContentTooLarge      it is longer than any call takes
    ├── TokenError               the session token is no way in
    │   ├── MissingToken
    │   ├── InvalidToken         malformed, forged, or of no session known here
    │   ├── SessionExpired       reason: idle | absolute
    │   ├── SessionEnded         reason: logout | revoked | replaced | evicted | …
    │   └── SessionSuperseded    an older token than the one in use
    ├── CodeError                WeChat refuses the code or its user
    │   ├── InvalidCode
    │   ├── CodeUsed
    │   └── UserBlocked
    ├── AccountError             the account does not allow it
    │   ├── BadCredentials       unknown user or wrong password: nobody is told which
    │   ├── TooManyAttempts      too many passwords, codes or registrations for a while
    │   ├── UsernameTaken
    │   ├── IdentityBound        the account has a WeChat user of this app, or the user an account
    │   ├── LastCredential       without it the user could never log in again
    │   └── ReauthenticationRequired
    ├── OpenDataError            what WeChat encrypted for us cannot be taken
    │   ├── SessionKeyStale      it fits none of the kept session_keys
    │   └── WatermarkMismatch    it is of another app, or too old
    ├── InvalidApiKey            no key of a back end of ours
    ├── WeChatError              WeChat did not answer the question
    │   ├── WeChatRateLimited
    │   ├── WeChatBusy
    │   ├── WeChatUnreachable
    │   ├── WeChatTimeout
    │   ├── WeChatUnintelligible
    │   └── AppRejected          our appid, secret or address; an operator has to act
    ├── Overloaded               no connection or no slot was free in time
    │   ├── Crossed              another transaction was in the way; another try may do
    │   └── DatabaseUnavailable  it cannot be reached, is read-only or full, or does not answer
    │       └── Disconnected     the connection broke; another try may find a new one
    ├── NotReady                 the schema is not there, or older than this code needs
    ├── ClocksDisagree           this host and its database do not agree what time it is
    ├── PurgeRunning             another purge holds the lock
    ├── NoSuchUser               an administrator named a user that is not here
    │   └── UserMerged           … any more, and what became of it
    └── NoSuchSession            … or a session

Each wire decides by itself which status an error has, because the wires disagree about that.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self
from uuid import UUID


class WxSessionError(Exception):
    """The base of all: catching it catches everything this package raises on purpose."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False
    """Whether the same request may be sent again, unchanged."""
    retry_after: int | None = None
    """After how many seconds it may be, where that is known."""

    def facts(self) -> Mapping[str, object]:
        """Return what a client may know beyond the code."""
        return {}

    def __str__(self) -> str:
        """Return the code and the facts; neither ever holds a secret."""
        facts = ", ".join(f"{name}={value}" for name, value in self.facts().items())
        return f"{self.code} ({facts})" if facts else self.code


class SettingsError(WxSessionError):
    """The configuration is wrong; `faults` has a line for each reason, none with a secret."""

    code = "invalid_settings"

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(*faults)
        self.faults = tuple(faults)

    def __str__(self) -> str:
        """Return every fault, a line each."""
        return "\n".join(["wxsession cannot start:", *(f"  * {fault}" for fault in self.faults)])


class InvalidRequest(WxSessionError):
    """The request is not what the call takes; `errors` lists every field and what is wrong."""

    code = "invalid_request"

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        super().__init__()
        self.errors = tuple(errors)

    @classmethod
    def of(cls, field: str, message: str) -> Self:
        """Return the error of a request in which one field is wrong."""
        return cls([{"field": field, "message": message}])

    def facts(self) -> Mapping[str, object]:
        """Return the fields that are wrong."""
        return {"errors": [dict(error) for error in self.errors]}


class ContentTooLarge(InvalidRequest):
    """The body is longer than any call takes."""

    code = "content_too_large"


class TokenError(WxSessionError):
    """The presented session token is no way in."""


class MissingToken(TokenError):
    """No session token was presented."""

    code = "missing_token"


class InvalidToken(TokenError):
    """The session token is malformed or forged, or its session is not known here."""

    code = "invalid_token"


class _SessionOver(TokenError):
    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def facts(self) -> Mapping[str, object]:
        """Return why the session is over."""
        return {"reason": self.reason}


class SessionExpired(_SessionOver):
    """The session is past its time; `reason` is ``idle`` or ``absolute``."""

    code = "session_expired"


class SessionEnded(_SessionOver):
    """The session was ended before its time; `reason` says by what."""

    code = "session_ended"


class SessionSuperseded(TokenError):
    """The session goes on under a newer token than the presented one."""

    code = "session_superseded"


class CodeError(WxSessionError):
    """WeChat refuses this code or its user; the same code will not do later either."""


class InvalidCode(CodeError):
    """The code is wrong, expired or another app's (WeChat 40029)."""

    code = "invalid_code"


class CodeUsed(CodeError):
    """The code was exchanged before (WeChat 40163)."""

    code = "code_used"


class UserBlocked(CodeError):
    """The user may not log in: blocked by WeChat (40226), or disabled here."""

    code = "user_blocked"


class AccountError(WxSessionError):
    """The account does not allow it."""


class BadCredentials(AccountError):
    """There is no such user, or the password is wrong; the same in both cases."""

    code = "bad_credentials"


class TooManyAttempts(AccountError):
    """Too many for this account or from this address; `retry_after` in seconds.

    `reason` says of what: ``passwords`` that were wrong, ``codes`` that were refused, or
    ``registrations``. `limit` of them are allowed in `window` seconds.
    """

    code = "too_many_attempts"
    retryable = True

    def __init__(self, reason: str, *, retry_after: int, limit: int, window: int) -> None:
        super().__init__()
        self.reason = reason
        self.retry_after = retry_after
        self.limit = limit
        self.window = window

    def facts(self) -> Mapping[str, object]:
        """Return what there were too many of."""
        return {"reason": self.reason}


class UsernameTaken(AccountError):
    """Somebody has this username, or the user has one already."""

    code = "username_taken"


class IdentityBound(AccountError):
    """The account has a WeChat user of this app already, or this WeChat user an account."""

    code = "identity_bound"


class LastCredential(AccountError):
    """Without it the user could not log in any more."""

    code = "last_credential"


class ReauthenticationRequired(AccountError):
    """The last login is too long ago for this, or was not one by WeChat where that is needed."""

    code = "reauthentication_required"


class OpenDataError(WxSessionError):
    """What WeChat signed or encrypted for this server cannot be taken."""


class SessionKeyStale(OpenDataError):
    """It fits none of the kept session_keys: log in anew, then ask WeChat for it anew."""

    code = "session_key_stale"


class WatermarkMismatch(OpenDataError):
    """It was made for another app or user, or too long ago."""

    code = "watermark_mismatch"


class InvalidApiKey(WxSessionError):
    """No API key came along, or one that is none of ours."""

    code = "invalid_api_key"


class WeChatError(WxSessionError):
    """WeChat did not answer the question; `retry_after` is in seconds."""

    retryable = True

    def __init__(self, *, retry_after: int | None = None) -> None:
        super().__init__()
        self.retry_after = retry_after


class WeChatRateLimited(WeChatError):
    """WeChat refuses for now because there were too many calls (45011, 45009)."""

    code = "wechat_rate_limited"


class WeChatBusy(WeChatError):
    """WeChat said -1, and again after every retry."""

    code = "wechat_busy"


class WeChatUnreachable(WeChatError):
    """No connection to WeChat, or one that broke."""

    code = "wechat_unreachable"


class WeChatTimeout(WeChatError):
    """No answer in time; the code may have been spent all the same."""

    code = "wechat_timeout"


class WeChatUnintelligible(WeChatError):
    """WeChat answered something that is no answer."""

    code = "wechat_unintelligible"
    retryable = False  # it did answer, so the code is most likely spent


class AppRejected(WeChatError):
    """WeChat refuses our appid, secret or address; the log has its errcode and rid."""

    code = "app_rejected"
    retryable = False


class Overloaded(WxSessionError):
    """No database connection, or no place among the WeChat calls, was free in time."""

    code = "overloaded"
    retryable = True

    def __init__(self, *, retry_after: int = 1) -> None:
        super().__init__()
        self.retry_after = retry_after


class Crossed(Overloaded):
    """Another transaction was in the way; nothing of this one happened."""


class DatabaseUnavailable(Overloaded):
    """The database cannot be reached, is read-only or full, or does not answer in time."""

    code = "database_unavailable"

    def __init__(self, *, retry_after: int = 2) -> None:
        super().__init__(retry_after=retry_after)


class Disconnected(DatabaseUnavailable):
    """A connection broke that had been good; a new one may be available at once."""


class ClocksDisagree(WxSessionError):
    """The clocks of this host and its database are `seconds` apart; which is right is unknown."""

    code = "clocks_disagree"

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.seconds = seconds

    def facts(self) -> Mapping[str, object]:
        """Return by how much they differ."""
        return {"seconds": self.seconds}


class NotReady(WxSessionError):
    """The database is there, and its schema is not, or is older than this code needs.

    An operator has to run ``upgrade-database``.
    """

    code = "not_ready"
    retryable = True

    def __init__(self, *, retry_after: int = 5) -> None:
        super().__init__()
        self.retry_after = retry_after


class PurgeRunning(WxSessionError):
    """Another purge of the same database is under way."""

    code = "purge_running"


class NoSuchUser(WxSessionError):
    """No user has this id."""

    code = "not_found"


class UserMerged(NoSuchUser):
    """The user with this id was merged into another one, `new_id`."""

    def __init__(self, new_id: UUID) -> None:
        super().__init__()
        self.new_id = new_id

    def facts(self) -> Mapping[str, object]:
        """Return the id of the user that this one has become."""
        return {"user_id": str(self.new_id)}


class NoSuchSession(WxSessionError):
    """No session has this id: there was none, or a purge has removed it."""

    code = "not_found"
