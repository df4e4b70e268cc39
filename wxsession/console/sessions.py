"""The screen of sessions: who is logged in, from where, since when; and to end one."""

from uuid import UUID

from flask import Response, request

from wxsession.console.admission import Screens, Visit
from wxsession.operations.admins.admin import Role

screens = Screens("Sessions")


@screens.page("/sessions")
def find_sessions(visit: Visit) -> Response:
    """List sessions, newest first."""
    page = visit.services.directory.sessions(after=request.args.get("after", type=UUID))
    return visit.show("sessions.html", page=page)


@screens.act("/sessions/<uuid:session_id>/end", role=Role.SUPPORT, says="The session is ended.")
def end_session(visit: Visit, session_id: UUID) -> Response:
    """End a session, and show its user."""
    user_id = visit.services.directory.session(session_id).user_id
    visit.services.administration.end_session(session_id, actor=visit.actor, client=visit.client)
    return visit.went("show_user", user_id=user_id)
