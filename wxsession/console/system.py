"""The system: what runs with which settings, and what its jobs have done."""

from flask import Response

from wxsession.console.admission import Screens, Visit
from wxsession.operations.prometheus import installed_version

screens = Screens("System")


@screens.page("/system")
def show_system(visit: Visit) -> Response:
    """Show the settings, the keys and the purges."""
    shown = visit.services.settings.shown()
    return visit.show(
        "system.html",
        system=visit.services.figures.system(),
        version=installed_version(),
        # The console's process exports no metrics, whatever is set for the service.
        settings=[one for one in shown if one.name != "WXSESSION_METRICS"],
    )
