"""What everybody may see."""

from flask import Blueprint, g

from wxsession import current_session, session_required

welcome = Blueprint("welcome", __name__)


@welcome.before_request
@session_required(optional=True)
def remember_visitor() -> None:
    """Let every view know who is there, if anybody is."""
    g.visitor = str(current_session.user_id) if current_session else None


@welcome.get("/")
def home() -> dict[str, object]:
    """Greet who is there."""
    return {"visitor": g.visitor}
