"""The errors that this package raises: each has a stable code and facts, but no HTTP status.

::

    WxSessionError
    ├── SettingsError            everything that is wrong with a configuration
    ├── InvalidRequest           the request is not what the endpoint accepts
    │   └── ContentTooLarge      the body is longer than any endpoint accepts
    ├── TokenError               the session token is not accepted
    │   ├── MissingToken
    │   ├── InvalidToken         malformed, forged, or of an unknown session
    │   ├── SessionExpired       reason: idle | absolute
    │   ├── SessionEnded         reason: logout | revoked | replaced | evicted | …
    │   └── SessionSuperseded    an older token than the one in use
    ├── CodeError                WeChat refuses the code or its user
    │   ├── InvalidCode
    │   ├── CodeUsed
    │   └── UserBlocked
    ├── AccountError             the account does not allow it
    │   ├── BadCredentials       unknown user or wrong password; which one is not revealed
    │   ├── TooManyAttempts      too many passwords, codes or registrations for a while
    │   ├── UsernameTaken
    │   ├── IdentityBound        the account has a WeChat user of this app, or the user an account
    │   ├── LastCredential       without it the user could never log in again
    │   └── ReauthenticationRequired
    ├── OpenDataError            open data cannot be read, or are not of this user
    │   ├── SessionKeyStale      no stored session_key fits
    │   └── WatermarkMismatch    of another app or user, or too old
    ├── InvalidTicket            unknown, used, expired, or of another audience
    ├── DeviceLoginError         a device that polls is not let in, or not yet (RFC 8628, 3.5)
    │   ├── AuthorizationPending
    │   ├── SlowDown
    │   ├── AccessDenied
    │   └── ExpiredToken
    ├── InvalidApiKey            no API key, or an unknown one
    ├── InsufficientScope        the API key is not for that
    ├── PushRefused              a message that WeChat did not send, or not to us
    ├── WeChatError              WeChat did not give a usable response
    │   ├── WeChatRateLimited
    │   ├── WeChatBusy
    │   ├── WeChatUnreachable
    │   ├── WeChatTimeout
    │   ├── WeChatUnintelligible
    │   └── AppRejected          our appid, secret or address; an operator has to act
    ├── Overloaded               no connection or no place was free in time
    │   ├── Crossed              a conflict with another transaction; a retry may succeed
    │   └── DatabaseUnavailable  it cannot be reached, is read-only or full, or does not respond
    │       └── Disconnected     the connection broke; a retry may get a new one
    ├── NotReady                 the schema is missing, or older than this code needs
    ├── ForeignTables            tables that are not ours have names of ours
    ├── OldNamesInUse            tables that are not ours refer to ours by names from before 0.1
    ├── UnknownRevision          the schema is newer than this code, or not ours
    ├── ClocksDisagree           the clocks of this host and its database differ
    ├── PurgeRunning             another purge holds the lock
    ├── DeliveryRunning          another process delivers to the same webhook
    ├── UnknownWebhook           no webhook has this name
    ├── NoSuchUser               an operator named an unknown user
    │   └── UserMerged           … that was merged into another one
    ├── NoSuchSession            an operator named an unknown session
    └── AdminError               an admin of the console is not let in, or unknown
        ├── NoSuchAdmin
        ├── InvalidLink          the link was used, has expired, or never was one
        ├── NotSignedIn          no session of an admin, or none that is live
        └── Forbidden            the role of the admin is not enough for that

The API and each dialect choose the status of an error, because they differ in that.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self
from uuid import UUID


class WxSessionError(Exception):
    """The base class: catching it catches everything that this package raises on purpose."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False
    """Whether the same request may be sent again, unchanged."""
    retry_after: int | None = None
    """The number of seconds to wait before that, if known."""

    def facts(self) -> Mapping[str, object]:
        """Return the facts that a client may see beside the code."""
        return {}

    def __str__(self) -> str:
        """Return the code and the facts, which have no secret in them."""
        facts = ", ".join(f"{name}={value}" for name, value in self.facts().items())
        return f"{self.code} ({facts})" if facts else self.code


class SettingsError(WxSessionError):
    """The configuration is wrong; `faults` has a line for each reason, without any secret."""

    code = "invalid_settings"

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(*faults)
        self.faults = tuple(faults)

    def __str__(self) -> str:
        """Return the faults, one per line."""
        return "\n".join(["wxsession cannot start:", *(f"  * {fault}" for fault in self.faults)])


class InvalidRequest(WxSessionError):
    """The request is not what the endpoint accepts; `errors` lists the wrong fields and why."""

    code = "invalid_request"

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        super().__init__()
        self.errors = tuple(errors)

    @classmethod
    def of(cls, field: str, message: str) -> Self:
        """Return the error for a request with one wrong field."""
        return cls([{"field": field, "message": message}])

    def facts(self) -> Mapping[str, object]:
        """Return the wrong fields."""
        return {"errors": [dict(error) for error in self.errors]}


class ContentTooLarge(InvalidRequest):
    """The body is longer than any endpoint accepts."""

    code = "content_too_large"


class TokenError(WxSessionError):
    """The presented session token is not accepted."""


class MissingToken(TokenError):
    """No session token was presented."""

    code = "missing_token"


class InvalidToken(TokenError):
    """The session token is malformed or forged, or its session is unknown."""

    code = "invalid_token"


class _SessionNotLive(TokenError):
    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def facts(self) -> Mapping[str, object]:
        """Return why the session has ended or expired."""
        return {"reason": self.reason}


class SessionExpired(_SessionNotLive):
    """The session has expired; `reason` is ``idle`` or ``absolute``."""

    code = "session_expired"


class SessionEnded(_SessionNotLive):
    """The session was ended before it expired; `reason` says by what."""

    code = "session_ended"


class SessionSuperseded(TokenError):
    """The session is in use with a newer token than the presented one."""

    code = "session_superseded"


class CodeError(WxSessionError):
    """WeChat refuses this code or its user; the code will not be accepted later either."""


class InvalidCode(CodeError):
    """The code is wrong, expired, or of another app (WeChat 40029)."""

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
    """The username is unknown or the password is wrong; the error is the same for both."""

    code = "bad_credentials"


class TooManyAttempts(AccountError):
    """Too many attempts for this account or from this address; `retry_after` is in seconds.

    `reason` is ``passwords`` (wrong ones), ``codes`` (refused ones), ``registrations`` or
    ``api_keys`` (wrong ones). `limit` of them are allowed in `window` seconds.
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
        """Return the kind of attempts."""
        return {"reason": self.reason}


class UsernameTaken(AccountError):
    """Another user has this username, or the user has one already."""

    code = "username_taken"


class IdentityBound(AccountError):
    """The account has a WeChat user of this app already, or this WeChat user an account."""

    code = "identity_bound"


class LastCredential(AccountError):
    """Without this credential the user could not log in any more."""

    code = "last_credential"


class ReauthenticationRequired(AccountError):
    """The last login is too long ago for this, or was not by WeChat if that is required."""

    code = "reauthentication_required"


class OpenDataError(WxSessionError):
    """Open data cannot be read, or are not of this user."""


class SessionKeyStale(OpenDataError):
    """No stored session_key fits the data: log in again, then get them from WeChat again."""

    code = "session_key_stale"


class WatermarkMismatch(OpenDataError):
    """The data are of another app or user, too old, or from the future."""

    code = "watermark_mismatch"


class InvalidTicket(WxSessionError):
    """The ticket is unknown, was used, has expired, or is for another audience; which is not told.

    Or its session has ended since.
    """

    code = "invalid_ticket"


class DeviceLoginError(WxSessionError):
    """A device that shows a code is not let in, or not yet (RFC 8628, 3.5)."""


class AuthorizationPending(DeviceLoginError):
    """Nobody has approved or denied the code yet."""

    code = "authorization_pending"
    retryable = True

    def __init__(self, *, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


class SlowDown(DeviceLoginError):
    """The device asked sooner than the interval allows."""

    code = "slow_down"
    retryable = True

    def __init__(self, *, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


class AccessDenied(DeviceLoginError):
    """The user turned the device away, or has logged out since."""

    code = "access_denied"


class ExpiredToken(DeviceLoginError):
    """The code is unknown, was used or decided about, or has expired; which is not told."""

    code = "expired_token"


class InvalidApiKey(WxSessionError):
    """The request has no API key, or an unknown one."""

    code = "invalid_api_key"


class InsufficientScope(WxSessionError):
    """The API key is known, but does not have the `scope` that this needs."""

    code = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__()
        self.scope = scope

    def facts(self) -> Mapping[str, object]:
        """Return the scope that is missing."""
        return {"scope": self.scope}


class PushRefused(WxSessionError):
    """A message that is not WeChat's, or not for us.

    `reason` is ``signature``, ``timestamp``, ``appid``, ``not_encrypted``, ``no_key`` (it is
    encrypted, and the app has no key) or ``encryption`` (it is encrypted with another key).
    """

    code = "push_refused"

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def facts(self) -> Mapping[str, object]:
        """Return why it is refused."""
        return {"reason": self.reason}


class WeChatError(WxSessionError):
    """WeChat did not give a usable response; `retry_after` is in seconds."""

    retryable = True

    def __init__(self, *, retry_after: int | None = None) -> None:
        super().__init__()
        self.retry_after = retry_after


class WeChatRateLimited(WeChatError):
    """WeChat refuses for a while because there were too many calls (45011, 45009)."""

    code = "wechat_rate_limited"


class WeChatBusy(WeChatError):
    """WeChat returned -1, also after every retry."""

    code = "wechat_busy"


class WeChatUnreachable(WeChatError):
    """There was no connection to WeChat, or it broke."""

    code = "wechat_unreachable"


class WeChatTimeout(WeChatError):
    """There was no response in time; the code may have been spent."""

    code = "wechat_timeout"


class WeChatUnintelligible(WeChatError):
    """WeChat's response could not be understood."""

    code = "wechat_unintelligible"
    retryable = False  # there was a response, so the code is most likely spent


class AppRejected(WeChatError):
    """WeChat refuses our appid, secret or address; the log has its errcode and rid."""

    code = "app_rejected"
    retryable = False


class Overloaded(WxSessionError):
    """No database connection, or no place for a call of WeChat or a password, was free in time."""

    code = "overloaded"
    retryable = True

    def __init__(self, *, retry_after: int = 1) -> None:
        super().__init__()
        self.retry_after = retry_after


class Crossed(Overloaded):
    """The transaction conflicted with another one and was rolled back."""


class DatabaseUnavailable(Overloaded):
    """The database cannot be reached, is read-only or full, or does not respond in time."""

    code = "database_unavailable"

    def __init__(self, *, retry_after: int = 2) -> None:
        super().__init__(retry_after=retry_after)


class Disconnected(DatabaseUnavailable):
    """A working connection broke; a new one may be available at once."""


class ClocksDisagree(WxSessionError):
    """The clocks of this host and its database are `seconds` apart; either may be wrong."""

    code = "clocks_disagree"

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.seconds = seconds

    def facts(self) -> Mapping[str, object]:
        """Return the difference in seconds."""
        return {"seconds": self.seconds}


class NotReady(WxSessionError):
    """The database has no schema, or one that is older than this code needs.

    An operator has to run ``upgrade-database``.
    """

    code = "not_ready"
    retryable = True

    def __init__(self, *, retry_after: int = 5) -> None:
        super().__init__()
        self.retry_after = retry_after


class _TablesInTheWay(WxSessionError):
    def __init__(self, tables: Sequence[str]) -> None:
        super().__init__()
        self.tables = tuple(tables)

    def facts(self) -> Mapping[str, object]:
        """Return the names of the tables."""
        return {"tables": list(self.tables)}


class ForeignTables(_TablesInTheWay):
    """The database has `tables` with names of ours that ``upgrade-database`` did not create."""

    code = "foreign_tables"


class OldNamesInUse(_TablesInTheWay):
    """Foreign keys of `tables` refer to tables of ours by the names that they had before 0.1."""

    code = "old_names_in_use"


class UnknownRevision(WxSessionError):
    """The schema is at a `revision` that this code does not know: a newer one, or not ours."""

    code = "unknown_revision"

    def __init__(self, revision: str) -> None:
        super().__init__()
        self.revision = revision

    def facts(self) -> Mapping[str, object]:
        """Return the revision."""
        return {"revision": self.revision}


class PurgeRunning(WxSessionError):
    """Another purge of the same database is running."""

    code = "purge_running"


class DeliveryRunning(WxSessionError):
    """Another process delivers to the same webhook."""

    code = "delivery_running"


class UnknownWebhook(WxSessionError):
    """No webhook has this name; `names` are those that there are."""

    code = "unknown_webhook"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)


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
    """No session has this id: it never existed, or a purge has removed it."""

    code = "not_found"


class AdminError(WxSessionError):
    """An admin of the console is not let in, or unknown."""


class NoSuchAdmin(AdminError):
    """No admin has this name."""

    code = "not_found"


class InvalidLink(AdminError):
    """The link was used, has expired, or never was one; which is not told."""

    code = "invalid_link"


class NotSignedIn(AdminError):
    """The admin has no session, or one that has ended or expired."""

    code = "not_signed_in"


class Forbidden(AdminError):
    """The role of the admin is not enough for that, or the request is not of the admin's page."""

    code = "forbidden"
