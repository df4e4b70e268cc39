"""The screens of users: who they are, and what an admin may do about them."""

from uuid import UUID

from flask import Response, request

from wxsession.console.admission import Screens, Visit
from wxsession.operations.directory import UserFilter

screens = Screens("Users")


@screens.page("/users")
def find_users(visit: Visit) -> Response:
    """List users."""
    page = visit.services.directory.users(UserFilter(), after=request.args.get("after", type=UUID))
    return visit.show("users.html", page=page)


@screens.page("/users/<uuid:user_id>")
def show_user(visit: Visit, user_id: UUID) -> Response:
    """Show a user."""
    return visit.show("user.html", details=visit.services.directory.user(user_id))
