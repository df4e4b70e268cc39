"""The screen of sessions: who is logged in, from where, since when; and to end one."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from flask import Response, request

from wxsession.console.admission import Screens, Visit
from wxsession.console.forms import address_in, moment_in, text_in
from wxsession.operations.admins.admin import Role
from wxsession.operations.session_search import SessionFilter

screens = Screens("Sessions")

_FIELDS: Final = ("appid", "address", "since", "zone", "every")


@screens.page("/sessions")
def find_sessions(visit: Visit) -> Response:
    """List the sessions that fit, newest first."""
    typed = {name: text for name in _FIELDS if (text := request.args.get(name, "").strip())}
    after = request.args.get("after", type=UUID)
    return visit.show(
        "sessions.html",
        page=visit.services.directory.find_sessions(_wanted(typed), after=after),
        typed=typed,
        appids=visit.services.settings.apps,
    )


@screens.act("/sessions/<uuid:session_id>/end", role=Role.SUPPORT, says="The session is ended.")
def end_session(visit: Visit, session_id: UUID) -> Response:
    """End a session, and show its user."""
    user_id = visit.services.directory.session(session_id).user_id
    visit.services.administration.end_session(session_id, actor=visit.actor, client=visit.client)
    return visit.went("show_user", user_id=user_id)


def _wanted(typed: Mapping[str, str]) -> SessionFilter:
    """Return the filter that a form describes.

    Raises:
        InvalidRequest: with what is wrong.
    """
    appid, address, since = (typed.get(name) for name in ("appid", "address", "since"))
    return SessionFilter(
        live="every" not in typed,
        appid=appid and text_in("appid", appid),
        address=address and address_in("address", address),
        since=moment_in("since", since, typed.get("zone", "")) if since else None,
    )
