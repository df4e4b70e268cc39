"""The commands: maintenance for a timer or an upgrade, administration for an operator."""

import click

from wxsession.cli import administration, maintenance
from wxsession.cli.output import EXIT_ANOTHER_IS_RUNNING, EXIT_MORE_IS_LEFT, EXIT_NOT_ALL, Progress
from wxsession.services import Services

__all__ = [
    "EXIT_ANOTHER_IS_RUNNING",
    "EXIT_MORE_IS_LEFT",
    "EXIT_NOT_ALL",
    "Progress",
    "commands",
]


def commands(services: Services) -> list[click.Command]:
    """Return the commands over these services."""
    return [
        maintenance.purge_sessions(services.purge, services.settings.retention),
        maintenance.upgrade_database(services.database),
        maintenance.keys(services.resealing),
        administration.users(services.administration, services.key_checks),
        administration.sessions(services.administration),
    ]
