"""The mini-programs: how each does at WeChat, and what its phone numbers cost."""

from flask import Response

from wxsession.console.admission import Screens, Visit
from wxsession.operations.figures import PHONE_NUMBER_PRICE

screens = Screens("Apps")


@screens.page("/apps")
def show_apps(visit: Visit) -> Response:
    """Show every mini-program of the settings."""
    return visit.show("apps.html", apps=visit.services.figures.apps(), price=PHONE_NUMBER_PRICE)
