"""Request and response bodies of our own dialect; the OpenAPI page is made from these models."""

import re
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from wxsession.accounts.service import Bound
from wxsession.common.clock import rfc3339
from wxsession.events.feed import MOST as MOST_EVENTS
from wxsession.logins.devices import AskingDevice
from wxsession.operations.directory import PAGE, UserFilter
from wxsession.operations.lookup import Found
from wxsession.sessions.introspection import Introspected
from wxsession.sessions.session import Grant, SessionView
from wxsession.storage.tables import LONGEST_AVATAR_URL, LONGEST_NICKNAME, LONGEST_ORIGIN
from wxsession.users import phone_numbers
from wxsession.users.phone_numbers import PhoneNumber
from wxsession.users.user import User
from wxsession.web.bodies import (
    Body,
    Code,
    Iv,
    LooseBody,
    OpenDataText,
    OptionalCredentials,
    Password,
    Query,
    Text,
    UserInfoBody,
    Username,
)
from wxsession.wechat.open_data import is_avatar_url, is_nickname

Moment = Annotated[
    datetime, PlainSerializer(rfc3339), Field(json_schema_extra={"format": "date-time"})
]
MOST_IN_A_PAGE = 200
Seconds = Annotated[int, Field(ge=0, description="whole seconds")]
Audience = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=LONGEST_ORIGIN,
        description="an origin of WXSESSION_TICKET_AUDIENCES, such as https://shop.example.com",
    ),
]
T = TypeVar("T")
Missing: TypeAlias = T | SkipJsonSchema[None]
"""A member that a reply may be without; it is never null."""


class Reply(BaseModel):
    """A reply body."""

    model_config = ConfigDict(frozen=True)


class LoginBody(OptionalCredentials):
    """A code of wx.login, or a username and its password, or both to bind the two."""

    code: Code | None = None
    appid: Text | None = Field(default=None, min_length=1, max_length=64)
    user_info: UserInfoBody | None = Field(
        default=None, description="what wx.getUserInfo returned; only together with a code"
    )

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.code is None and self.user_info is not None:
            raise ValueError("send user_info together with a code")
        if self.code is None and self.username is None:
            raise ValueError("send a code, or a username and a password")
        return self


class RegisterBody(Body):
    """A username of 3 to 64 characters, and a password of 8 to 128 that is not a common one."""

    username: Username
    password: Password


class BindBody(Body):
    """The credentials of the account that the WeChat user is to belong to."""

    username: Username
    password: Password


class UnbindBody(Body):
    """The app whose WeChat user to unbind; the password replaces a recent login."""

    appid: Text | None = Field(default=None, min_length=1, max_length=64)
    password: Password | None = None
    all: bool = Field(default=False, description="the WeChat users of every app")

    @model_validator(mode="after")
    def _one_or_all(self) -> Self:
        if self.all and self.appid is not None:
            raise ValueError("send either appid or all")
        return self


class DeletionBody(Body):
    """The password replaces a recent login."""

    password: Password | None = None


class PasswordBody(Body):
    """The new password, and the current one unless the session's login was by code."""

    password: Password | None = None
    new_password: Password


class LogoutBody(Body):
    """Which sessions to end."""

    everywhere: bool = Field(default=False, description="every session of the user")


class WeChatEventBody(LooseBody):
    """A message from WeChat, in clear, with the names that it has there; more may come with it."""

    app_id: Text = Field(alias="AppID", min_length=1, max_length=64)
    msg_type: Text = Field(alias="MsgType", max_length=64)
    event: Text | None = Field(default=None, alias="Event", max_length=128)
    openid: Text | None = Field(default=None, alias="OpenID", max_length=128)
    revoke_info: Text | int | None = Field(default=None, alias="RevokeInfo")
    create_time: Text | int | None = Field(default=None, alias="CreateTime")


def _nickname(text: str) -> str:
    if not is_nickname(text):
        raise ValueError(
            "must have 1 to 64 characters, at least one of them visible, without control"
            " characters or characters that change the direction of the text"
        )
    return text


def _avatar_url(text: str) -> str:
    if not is_avatar_url(text):
        raise ValueError(
            "must be a percent-encoded http or https URL without username and password"
        )
    return text


class ProfileBody(Body):
    """What to change about the user; null clears a field, a missing one stays as it is."""

    nickname: Annotated[Text, AfterValidator(_nickname)] | None = Field(
        default=None, min_length=1, max_length=LONGEST_NICKNAME
    )
    avatar_url: Annotated[Text, AfterValidator(_avatar_url)] | None = Field(
        default=None, min_length=1, max_length=LONGEST_AVATAR_URL
    )


class PhoneNumberBody(LooseBody):
    """What the button getPhoneNumber returned: a code, which is preferred, or encryptedData and iv.

    Today's button returns all three, with errMsg and cloudID: a mini-program may send all of it.
    """

    code: Text | None = Field(default=None, min_length=1, max_length=256)
    encrypted_data: OpenDataText | None = Field(default=None, alias="encryptedData")
    iv: Iv | None = None

    @model_validator(mode="after")
    def _some_way(self) -> Self:
        if self.code is None and (self.encrypted_data is None or self.iv is None):
            raise ValueError("send code, or encryptedData and iv")
        return self


class UserReply(Reply):
    """The user, as the user may see it."""

    id: UUID
    username: str | None
    nickname: str | None
    avatar_url: str | None
    phone_number: str | None = Field(description="masked")
    new: bool = Field(description="created by this login")

    @classmethod
    def of(cls, user: User, *, new: bool = False) -> "UserReply":
        """Return the reply for a user."""
        return cls(
            id=user.id,
            username=user.username,
            nickname=user.nickname,
            avatar_url=user.avatar_url,
            phone_number=user.phone.masked() if user.phone else None,
            new=new,
        )


class ExportedUserReply(Reply):
    """The whole profile."""

    id: UUID
    username: str | None
    nickname: str | None
    avatar_url: str | None
    phone_number: str | None = Field(description="whole")
    country_code: str | None
    disabled_at: Moment | None
    created_at: Moment


class ExportedIdentityReply(Reply):
    """A WeChat user who leads to the user."""

    appid: str
    openid: str
    unionid: str | None
    bound_at: Moment


class ExportedSessionReply(Reply):
    """A session, whatever became of it."""

    id: UUID
    appid: str | None = Field(description="null for a login by password")
    created_at: Moment
    auth_time: Moment
    expires_at: Moment
    ended_at: Moment | None
    end_reason: str | None
    client_address: str | None
    user_agent: str | None


class ExportedEventReply(Reply):
    """What happened to the user, or was refused."""

    id: UUID
    at: Moment
    event: str
    reason: str | None
    session_id: UUID | None
    appid: str | None
    client_address: str | None
    user_agent: str | None
    count: int


class ExportReply(Reply):
    """All that is known of the user."""

    exported_at: Moment
    user: ExportedUserReply
    identities: list[ExportedIdentityReply]
    sessions: list[ExportedSessionReply]
    events: list[ExportedEventReply]


class UserWrapped(Reply):
    """The user."""

    user: UserReply


class UserInfoReply(Reply):
    """The user with what open data changed, and the data."""

    user: UserReply
    open_data: dict[str, Any] | None = Field(
        description="without openId and unionId, phone numbers masked; null: the user refused"
    )


class PhoneNumberReply(Reply):
    """The number that was saved."""

    phone_number: str = Field(description="masked")
    country_code: str


class GrantReply(Reply):
    """A session token and what comes with it."""

    session_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a token type of RFC 6750
    expires_in: Seconds
    absolute_expires_at: Moment
    session_id: UUID
    user: UserReply

    @classmethod
    def of(cls, grant: Grant) -> "GrantReply":
        """Return the reply for a grant."""
        return cls(
            session_token=grant.session_token,
            expires_in=grant.expires_in,
            absolute_expires_at=grant.absolute_expires_at,
            session_id=grant.session_id,
            user=UserReply.of(grant.user, new=grant.new_user),
        )


class CheckReply(Reply):
    """A session that is live."""

    active: Literal[True] = True
    expires_in: Seconds
    absolute_expires_at: Moment
    superseded: bool = Field(
        description="whether a refresh has returned a newer token that was not used yet"
    )
    user: UserReply

    @classmethod
    def of(cls, view: SessionView) -> "CheckReply":
        """Return the reply for a live session."""
        return cls(
            expires_in=view.expires_in,
            absolute_expires_at=view.absolute_expires_at,
            superseded=view.superseded,
            user=UserReply.of(view.user),
        )


class SessionReply(Reply):
    """One of the user's own sessions, without its token."""

    id: UUID
    current: bool = Field(description="whether it is the session of this request")
    appid: str | None = Field(description="null for a login by password")
    created_at: Moment
    auth_time: Moment
    expires_in: Seconds
    absolute_expires_at: Moment
    client_address: str | None
    user_agent: str | None

    @classmethod
    def of(cls, view: SessionView) -> "SessionReply":
        """Return the reply for one session of a list."""
        return cls(
            id=view.session_id,
            current=view.current,
            appid=view.identity.appid if view.identity else None,
            created_at=view.created_at,
            auth_time=view.auth_time,
            expires_in=view.expires_in,
            absolute_expires_at=view.absolute_expires_at,
            client_address=view.client.address,
            user_agent=view.client.user_agent,
        )


class SessionsReply(Reply):
    """The user's own live sessions, newest first."""

    sessions: list[SessionReply]
    more: bool = Field(description="whether there are older ones")


class BoundReply(Reply):
    """An app whose WeChat user is bound to this user."""

    appid: str
    bound_at: Moment = Field(description="when it was bound to this user")
    current: bool = Field(description="whether it is that of this session")


class IdentitiesReply(Reply):
    """The apps whose WeChat users are bound to this user, oldest first."""

    identities: list[BoundReply]

    @classmethod
    def of(cls, found: list[Bound]) -> "IdentitiesReply":
        """Return the reply for these WeChat users."""
        return cls(identities=[BoundReply(**asdict(one)) for one in found])


class IntrospectBody(LooseBody):
    """A session token that a back end received; unknown fields are ignored (RFC 7662, 2.1)."""

    token: str = Field(min_length=1, description="the session token")
    token_type_hint: str | None = Field(default=None, description="ignored")


class LiveTokenReply(Reply):
    """Whose session a live token belongs to; what the user does not have is missing."""

    active: Literal[True] = True
    sub: UUID = Field(description="the user's id")
    username: Missing[str] = None
    appid: Missing[str] = None
    openid: Missing[str] = None
    unionid: Missing[str] = None
    iat: int = Field(description="when the session began, in seconds since 1970")
    exp: int = Field(description="when the session expires if it is not used again")
    auth_time: int = Field(description="when the user last logged in to it")
    sid: UUID = Field(description="the session's id")

    @classmethod
    def of(cls, found: Introspected) -> "LiveTokenReply":
        """Return the reply for a live session."""
        return cls(**asdict(found))


class DeadTokenReply(Reply):
    """Any other token, for whatever reason."""

    active: Literal[False] = False


class IntrospectReply(RootModel[LiveTokenReply | DeadTokenReply]):
    """What a back end is told about a token (RFC 7662, 2.2)."""

    @classmethod
    def of(cls, found: Introspected | None) -> "IntrospectReply":
        """Return the reply for a live session, or for any other token."""
        return cls(LiveTokenReply.of(found) if found else DeadTokenReply())


class TicketBody(Body):
    """Where a ticket is to be redeemed."""

    audience: Audience


class RedeemBody(Body):
    """A ticket that came in a URL, and the origin of the page that it came to."""

    ticket: Text = Field(min_length=1, max_length=256)
    audience: Audience


_OWN_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")
"""Browsers read a backslash as a slash, skip tabs and newlines, and take ``//`` for a host."""


def _own_path(text: str) -> str:
    if not _OWN_PATH.fullmatch(text):
        raise ValueError("must be a path of this origin, such as /orders")
    return text


class WebViewQuery(LooseBody):
    """A ticket, and the page to go on to."""

    ticket: Text = Field(min_length=1, max_length=256)
    to: Annotated[Text, AfterValidator(_own_path)] = Field(default="/", max_length=2048)


class TicketReply(Reply):
    """A ticket, for a URL."""

    ticket: str
    expires_in: Seconds


class DeviceLoginReply(Reply):
    """What a device shows, as a QR code or as text, and what it polls with."""

    device_code: str = Field(description="for the device alone")
    user_code: str = Field(description="to show")
    expires_in: Seconds
    interval: Seconds = Field(description="how long to wait between two polls, at least")


class DeviceCodeBody(Body):
    """What the device polls with."""

    device_code: Text = Field(min_length=1, max_length=256)


class UserCodeBody(Body):
    """What the device shows."""

    user_code: Text = Field(min_length=1, max_length=64)


class DecisionBody(UserCodeBody):
    """What the device shows, and whether to let it in."""

    approve: bool


class AskingDeviceReply(Reply):
    """Who asks to be let in, for the user to judge."""

    client_address: str | None
    user_agent: str | None
    expires_in: Seconds

    @classmethod
    def of(cls, asking: AskingDevice) -> "AskingDeviceReply":
        """Return the reply for a device that waits."""
        client = asking.client
        return cls(
            client_address=client.address,
            user_agent=client.user_agent,
            expires_in=asking.expires_in,
        )


class AccessTokenReply(Reply):
    """A signed access token for back ends (RFC 6750, 4)."""

    access_token: str = Field(description="a JWT (RFC 9068); never a session token")
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a token type of RFC 6750
    expires_in: Seconds


class JwkReply(Reply):
    """A public key (RFC 7517) on the curve P-256 (RFC 7518, 6.2)."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: str
    y: str
    use: Literal["sig"]
    alg: Literal["ES256"]
    kid: str


class JwksReply(Reply):
    """The public keys by which signed access tokens are verified, newest first."""

    keys: list[JwkReply]


class MetadataReply(Reply):
    """Where a back end finds what (RFC 8414)."""

    issuer: str
    jwks_uri: Missing[str] = Field(None, description="missing where no signed tokens are issued")
    introspection_endpoint: str
    introspection_endpoint_auth_methods_supported: list[str]
    response_types_supported: list[str] = Field(description="none: logins do not go by OAuth")


class TakenReply(Reply):
    """Whether a message was about a user, and was obeyed."""

    taken: bool


Named = Annotated[Text, Field(min_length=1, max_length=256)]
Limit = Annotated[int, Field(ge=1, le=MOST_IN_A_PAGE, description="how many at most")]
After = Annotated[UUID | None, Field(description="continue after this id: `next` of the last page")]


class UsersQuery(Query):
    """Which users; all that is named has to hold, and openid, unionid and appid of one identity."""

    username: Named | None = None
    openid: Named | None = None
    unionid: Named | None = None
    appid: Named | None = None
    phone_number: str | None = Field(
        default=None,
        pattern=f"^{phone_numbers.NUMBER.pattern}$",
        description="needs the scope `phone`; without the country code",
    )
    country_code: str = Field(default="86", pattern=f"^{phone_numbers.COUNTRY_CODE.pattern}$")
    after: After = None
    limit: Limit = PAGE

    def wanted(self) -> UserFilter:
        """Return it in the form that the services take."""
        phone = PhoneNumber(self.phone_number, self.country_code) if self.phone_number else None
        return UserFilter(
            username=self.username,
            phone=phone,
            openid=self.openid,
            unionid=self.unionid,
            appid=self.appid,
        )


class SessionsQuery(Query):
    """Which sessions of a user."""

    all: bool = Field(default=False, description="expired and ended ones too")
    after: After = None
    limit: Limit = PAGE


class EventsQuery(Query):
    """From where to read on."""

    after: Text | None = Field(
        default=None, max_length=64, description="continue after this: `next` of the last page"
    )
    limit: Annotated[int, Field(ge=1, le=MOST_EVENTS, description="how many at most")] = 100


class EventReply(Reply):
    """What happened to a user or a session."""

    id: UUID
    at: Moment
    event: str = Field(description="as in `user.merged`")
    reason: str | None
    user_id: UUID | None
    new_user_id: UUID | None = Field(description="the id afterwards: `user.merged`, `user.split`")
    session_id: UUID | None
    appid: str | None
    client_address: str | None
    user_agent: str | None
    count: int = Field(description="how often, so far, within ten minutes")
    actor: str | None = Field(description="the operator, or the back end, who did it")
    request_id: str | None
    openids: dict[str, str] | None = Field(description="of who was deleted, by appid")


class EventsReply(Reply):
    """Events, oldest first."""

    events: list[EventReply]
    next: str | None = Field(description="the cursor after them; null before the first event")


class IdentityReply(Reply):
    """A WeChat user, as WeChat names it."""

    appid: str
    openid: str
    unionid: str | None


class FoundUserReply(Reply):
    """A user, as back ends see it."""

    id: UUID
    username: str | None
    nickname: str | None
    avatar_url: str | None
    phone_number: str | None = Field(description="whole with the scope `phone`, otherwise masked")
    country_code: str | None
    identities: list[IdentityReply]
    disabled: bool
    created_at: Moment

    @classmethod
    def of(cls, found: Found) -> "FoundUserReply":
        """Return the reply for a user."""
        identities = [IdentityReply(**one._asdict()) for one in found.identities]
        return cls(**{**asdict(found), "identities": identities})


class FoundUsersReply(Reply):
    """Users in the order of their ids, oldest first."""

    users: list[FoundUserReply]
    next: UUID | None = Field(description="where the next page begins; null at the end")


class FoundSessionReply(Reply):
    """A session of a user, as back ends see it."""

    session_id: UUID
    user_id: UUID
    appid: str | None
    openid: str | None
    state: Literal["live", "ended", "expired"]
    reason: str | None = Field(description="why it is not live")
    created_at: Moment
    auth_time: Moment
    expires_at: Moment
    absolute_expires_at: Moment
    ended_at: Moment | None
    client_address: str | None
    user_agent: str | None


class FoundSessionsReply(Reply):
    """Sessions of a user, newest first."""

    sessions: list[FoundSessionReply]
    next: UUID | None = Field(description="where the next page begins; null at the end")


class MovedReply(Reply):
    """The user that this one has become."""

    user_id: UUID


class StandingReply(Reply):
    """Whether a user may log in, from now on."""

    user_id: UUID
    disabled: bool
    sessions_ended: int


class EndedSessionsReply(Reply):
    """How many sessions of a user were ended."""

    user_id: UUID
    sessions_ended: int


class EndedSessionReply(Reply):
    """A session that is not live any more."""

    session_id: UUID
    ended: bool = Field(description="whether it was live before")


class HealthReply(Reply):
    """Alive, or ready."""

    status: Literal["ok"] = "ok"


class FieldError(Reply):
    """One field, and what is wrong with it."""

    field: str
    message: str


class Problem(Reply):
    """An error (RFC 9457); clients branch on `code`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool = Field(description="whether the same request can be sent again")
    reason: str | None = Field(
        default=None,
        description="with session_expired, session_ended, too_many_attempts, push_refused",
    )
    scope: str | None = Field(default=None, description="with insufficient_scope: what is missing")
    errors: list[FieldError] | None = Field(default=None, description="with invalid_request")
    request_id: str | None = Field(default=None, description="what the server's log calls it")
