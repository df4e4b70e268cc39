"""What our own dialect takes and gives, as models; the OpenAPI page is made from them."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

from wxsession.models import User
from wxsession.sessions import Grant, SessionView


def _no_nul(text: str) -> str:
    if "\0" in text:  # every validator lets it pass, PostgreSQL does not
        raise ValueError("must not contain a NUL character")
    return text


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Text = Annotated[str, AfterValidator(_no_nul)]
Moment = Annotated[
    datetime, PlainSerializer(_rfc3339), Field(json_schema_extra={"format": "date-time"})
]
Seconds = Annotated[int, Field(ge=0, description="whole seconds")]


class Body(BaseModel):
    """A request body: a misspelt field is an error, not a wish that goes unheard."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Reply(BaseModel):
    """A reply body."""

    model_config = ConfigDict(frozen=True)


class LoginBody(Body):
    """A code of wx.login; `appid` where the server serves several apps."""

    code: Text = Field(min_length=1, max_length=128, description="the code of wx.login")
    appid: Text | None = Field(default=None, min_length=1, max_length=64)


class LogoutBody(Body):
    """Which sessions to end."""

    everywhere: bool = Field(default=False, description="every session of the user")


class UserReply(Reply):
    """The user, as the user may see it."""

    id: UUID
    username: str | None
    nickname: str | None
    avatar_url: str | None
    phone_number: str | None = Field(description="masked")
    new: bool = Field(description="made by this login")

    @classmethod
    def of(cls, user: User, *, new: bool = False) -> "UserReply":
        """Return the reply for a user."""
        return cls(
            id=user.id,
            username=user.username,
            nickname=user.nickname,
            avatar_url=user.avatar_url,
            phone_number=None,
            new=new,
        )


class GrantReply(Reply):
    """A session token and what comes with it."""

    session_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a word of RFC 6750
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
    superseded: bool = Field(description="a refresh has made a newer token that was not used yet")
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
    current: bool = Field(description="the one that asks")
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


class HealthReply(Reply):
    """Alive, or ready."""

    status: Literal["ok"] = "ok"


class FieldError(Reply):
    """One field that is wrong."""

    field: str
    message: str


class Problem(Reply):
    """An error (RFC 9457); `code` is what a client branches on."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool = Field(description="whether the same request may be sent again")
    reason: str | None = Field(default=None, description="of session_expired and session_ended")
    errors: list[FieldError] | None = Field(default=None, description="of invalid_request")
