"""Users, as the operator's other back ends read and manage them with their API keys."""

from dataclasses import asdict
from http import HTTPStatus
from uuid import UUID

from flask import Request

from wxsession.accounts.api_keys import BackEnd
from wxsession.errors import NoSuchSession, NoSuchUser, NotReady, Overloaded
from wxsession.operations.lookup import Asker
from wxsession.services import Services
from wxsession.web.api.endpoints import Auth, Endpoint
from wxsession.web.api.schemas import (
    EndedSessionReply,
    EndedSessionsReply,
    FoundSessionReply,
    FoundSessionsReply,
    FoundUserReply,
    FoundUsersReply,
    SessionsQuery,
    StandingReply,
    UsersQuery,
)
from wxsession.web.request import client_of

PHONE = "phone"


def find_users(
    services: Services, request: Request, back_end: BackEnd, query: UsersQuery
) -> FoundUsersReply:
    """List users, oldest first, a page at a time.

    Whole phone numbers, and the search for one, need the scope `phone`. Showing them is an event in
    the audit.
    """
    if query.phone_number is not None:
        back_end.ensure(PHONE)  # or what is masked could be tried out
    page = services.lookup.users(
        query.wanted(), _asker(request, back_end), limit=query.limit, after=query.after
    )
    return FoundUsersReply(users=[FoundUserReply.of(user) for user in page.items], next=page.next)


def find_user(
    services: Services, request: Request, user_id: UUID, back_end: BackEnd
) -> FoundUserReply:
    """Return a user; one who was merged into another is found there.

    The whole phone number needs the scope `phone`. Showing it is an event in the audit.
    """
    return FoundUserReply.of(services.lookup.user(user_id, _asker(request, back_end)))


def list_sessions_of_user(
    services: Services, _request: Request, user_id: UUID, query: SessionsQuery
) -> FoundSessionsReply:
    """List a user's live sessions, or all of them, newest first, a page at a time."""
    page = services.directory.sessions(
        user_id, every=query.all, limit=query.limit, after=query.after
    )
    sessions = [FoundSessionReply(**asdict(session)) for session in page.items]
    return FoundSessionsReply(sessions=sessions, next=page.next)


def end_sessions_of_user(
    services: Services, request: Request, user_id: UUID, back_end: BackEnd
) -> EndedSessionsReply:
    """End every live session of a user."""
    ended = services.administration.end_sessions(
        user_id, actor=back_end.name, client=client_of(request)
    )
    return EndedSessionsReply(user_id=user_id, sessions_ended=ended)


def end_session_of_user(
    services: Services, request: Request, user_id: UUID, session_id: UUID, back_end: BackEnd
) -> EndedSessionReply:
    """End one session of a user, if it is live."""
    ended = services.administration.end_session(
        session_id, user_id=user_id, actor=back_end.name, client=client_of(request)
    )
    return EndedSessionReply(session_id=session_id, ended=ended)


def disable_user(
    services: Services, request: Request, user_id: UUID, back_end: BackEnd
) -> StandingReply:
    """Disable a user, who cannot log in any more, and end every session."""
    ended = services.administration.disable(user_id, actor=back_end.name, client=client_of(request))
    return StandingReply(user_id=user_id, disabled=True, sessions_ended=ended)


def enable_user(
    services: Services, request: Request, user_id: UUID, back_end: BackEnd
) -> StandingReply:
    """Let a disabled user log in again; the ended sessions stay ended."""
    services.administration.enable(user_id, actor=back_end.name, client=client_of(request))
    return StandingReply(user_id=user_id, disabled=False, sessions_ended=0)


def delete_found_user(
    services: Services, _request: Request, user_id: UUID, back_end: BackEnd
) -> None:
    """Delete a user, and everything that is known of it."""
    services.deletion.begin(user_id, actor=back_end.name)


def _asker(request: Request, back_end: BackEnd) -> Asker:
    return Asker(back_end.name, client_of(request), PHONE in back_end.scopes)


ENDPOINTS = (
    Endpoint(
        "/users",
        find_users,
        methods=["GET"],
        auth=Auth.API_KEY,
        scope="users",
        raises=[Overloaded, NotReady],
    ),
    Endpoint(
        "/users/<uuid:user_id>",
        find_user,
        methods=["GET"],
        auth=Auth.API_KEY,
        scope="users",
        raises=[NoSuchUser, Overloaded, NotReady],
        has_etag=True,
    ),
    Endpoint(
        "/users/<uuid:user_id>",
        delete_found_user,
        methods=["DELETE"],
        auth=Auth.API_KEY,
        scope="manage",
        status=HTTPStatus.NO_CONTENT,
        raises=[NoSuchUser, Overloaded, NotReady],
    ),
    Endpoint(
        "/users/<uuid:user_id>/sessions",
        list_sessions_of_user,
        methods=["GET"],
        auth=Auth.API_KEY,
        scope="manage",
        raises=[NoSuchUser, Overloaded, NotReady],
    ),
    Endpoint(
        "/users/<uuid:user_id>/sessions",
        end_sessions_of_user,
        methods=["DELETE"],
        auth=Auth.API_KEY,
        scope="manage",
        raises=[NoSuchUser, Overloaded, NotReady],
    ),
    Endpoint(
        "/users/<uuid:user_id>/sessions/<uuid:session_id>",
        end_session_of_user,
        methods=["DELETE"],
        auth=Auth.API_KEY,
        scope="manage",
        raises=[NoSuchUser, NoSuchSession, Overloaded, NotReady],
    ),
    Endpoint(
        "/users/<uuid:user_id>/disable",
        disable_user,
        methods=["POST"],
        auth=Auth.API_KEY,
        scope="manage",
        raises=[NoSuchUser, Overloaded, NotReady],
    ),
    Endpoint(
        "/users/<uuid:user_id>/enable",
        enable_user,
        methods=["POST"],
        auth=Auth.API_KEY,
        scope="manage",
        raises=[NoSuchUser, Overloaded, NotReady],
    ),
)
