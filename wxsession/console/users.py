"""The screens of users: who they are, why they are logged out, and what to do about them."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import Response, request

from wxsession.console.admission import Screens, Visit
from wxsession.operations.admins.admin import Role
from wxsession.operations.directory import UserFilter
from wxsession.operations.lookup import Asker
from wxsession.operations.user_search import LONGEST, Found

screens = Screens("Users")

_PASSWORD_VALID_FOR = timedelta(days=1)
_SESSIONS = 20


@screens.page("/users")
def find_users(visit: Visit) -> Response:
    """List users, newest first, or those whom a text fits; of an app, or disabled, if asked."""
    text, appid = request.args.get("search", "").strip(), request.args.get("appid") or None
    disabled = request.args.get("disabled") or None
    wanted = UserFilter(appid=appid, disabled=bool(disabled))
    if text:
        found, after = visit.services.user_search.find(text, within=wanted), None
    else:
        page = visit.services.directory.users(
            wanted, after=request.args.get("after", type=UUID), newest_first=True
        )
        found, after = Found(page.items, is_all=page.next is None), page.next
    return visit.show(
        "users.html",
        found=found,
        after=after,
        search=text[:LONGEST],
        longest=LONGEST,
        is_too_long=len(text) > LONGEST,
        appids=visit.services.settings.apps,
        appid=appid,
        disabled=disabled,
    )


@screens.page("/users/<uuid:user_id>")
def show_user(visit: Visit, user_id: UUID) -> Response:
    """Show a user, with WeChat users, sessions and events."""
    return _show(visit, user_id)


@screens.act(
    "/users/<uuid:user_id>/disable",
    role=Role.SUPPORT,
    says="The user is disabled; {count} sessions ended.",
)
def disable_user(visit: Visit, user_id: UUID) -> Response:
    """Let a user in no more, and end the sessions."""
    ended = visit.services.administration.disable(user_id, actor=visit.actor, client=visit.client)
    return visit.went("show_user", user_id=user_id, count=ended)


@screens.act("/users/<uuid:user_id>/enable", role=Role.SUPPORT, says="The user may log in.")
def enable_user(visit: Visit, user_id: UUID) -> Response:
    """Let a disabled user in again."""
    visit.services.administration.enable(user_id, actor=visit.actor, client=visit.client)
    return visit.went("show_user", user_id=user_id)


@screens.act(
    "/users/<uuid:user_id>/end-sessions", role=Role.SUPPORT, says="{count} sessions ended."
)
def end_sessions(visit: Visit, user_id: UUID) -> Response:
    """End every session of a user."""
    ended = visit.services.administration.end_sessions(
        user_id, actor=visit.actor, client=visit.client
    )
    return visit.went("show_user", user_id=user_id, count=ended)


@screens.act(
    "/users/<uuid:user_id>/unlock",
    role=Role.SUPPORT,
    says="The wrong passwords are forgotten.",
)
def unlock_user(visit: Visit, user_id: UUID) -> Response:
    """Let a user log in by password again, after too many wrong ones."""
    visit.services.passwords.unlock(user_id, actor=visit.actor, client=visit.client)
    return visit.went("show_user", user_id=user_id)


@screens.act("/users/<uuid:user_id>/set-password", role=Role.SUPPORT, factor=True)
def set_password(visit: Visit, user_id: UUID) -> Response:
    """Give a user a temporary password, and show it this once."""
    made = visit.services.passwords.set_temporary(
        user_id, valid_for=_PASSWORD_VALID_FOR, actor=visit.actor, client=visit.client
    )
    return _show(visit, user_id, password=made)


@screens.act("/users/<uuid:user_id>/phone-number", role=Role.SUPPORT, factor=True)
def show_phone_number(visit: Visit, user_id: UUID) -> Response:
    """Show the whole phone number of a user this once."""
    asker = Asker(visit.actor, visit.client, sees_phone_numbers=True)
    return _show(visit, user_id, shown=visit.services.lookup.user(user_id, asker))


@screens.act("/users/<uuid:user_id>/export", role=Role.OWNER, factor=True)
def export_user(visit: Visit, user_id: UUID) -> Response:
    """Send all that is known of a user as a file of JSON."""
    exported = visit.services.export.of_user(user_id, actor=visit.actor, client=visit.client)
    named = {"Content-Disposition": f'attachment; filename="user-{user_id}.json"'}
    return Response(exported.pieces(), headers=named, mimetype="application/json")


@screens.act(
    "/users/<uuid:user_id>/delete",
    role=Role.OWNER,
    factor=True,
    says="The user is deleted.",
)
def delete_user(visit: Visit, user_id: UUID) -> Response:
    """Delete a user for good; what many rows are left, the purge clears."""
    visit.services.directory.user(user_id)
    visit.services.deletion.begin(user_id, actor=visit.actor)
    return visit.went("find_users")


def _show(visit: Visit, user_id: UUID, **shown_once: Any) -> Response:
    directory = visit.services.directory
    details = directory.user(user_id)
    after = request.args.get("after", type=UUID)
    sessions = directory.sessions(user_id, every=True, limit=_SESSIONS, after=after)
    is_out = sessions.items and not details.live_sessions and after is None
    values = {"password": None, "shown": None} | shown_once
    return visit.show(
        "user.html",
        details=details,
        sessions=sessions,
        # Not the one that began last: another device may have stayed longer.
        over=max(sessions.items, key=lambda one: one.ended_at or one.expires_at)
        if is_out
        else None,
        **values,
    )
