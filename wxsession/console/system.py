"""The system: what runs with which settings, and what its jobs have done."""

from flask import Response

from wxsession.console.admission import Screens, Visit
from wxsession.operations.prometheus import installed_version

screens = Screens("System")


@screens.page("/system")
def show_system(visit: Visit) -> Response:
    """Show the settings, the keys and the purges."""
    return visit.show(
        "system.html",
        system=visit.services.figures.system(),
        version=installed_version(),
        settings=visit.services.settings.shown(),
    )
