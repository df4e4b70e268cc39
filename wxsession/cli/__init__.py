"""The commands: maintenance for a timer or an upgrade, administration for an operator."""

import click

from wxsession.administration import Administration
from wxsession.cli import administration, maintenance
from wxsession.cli.output import (
    EXIT_ANOTHER_IS_RUNNING,
    EXIT_MORE_IS_LEFT,
    EXIT_NOT_ALL,
    Progress,
)
from wxsession.db import Database
from wxsession.profiles import ProfileService
from wxsession.purge import Purge
from wxsession.resealing import Resealing
from wxsession.settings import Settings

__all__ = [
    "EXIT_ANOTHER_IS_RUNNING",
    "EXIT_MORE_IS_LEFT",
    "EXIT_NOT_ALL",
    "Progress",
    "commands",
]


def commands(  # noqa: PLR0913 - what the commands work on
    database: Database,
    purge: Purge,
    resealing: Resealing,
    admin: Administration,
    profiles: ProfileService,
    settings: Settings,
) -> list[click.Command]:
    """Return the commands over these parts."""
    return [
        maintenance.purge_sessions(purge, settings.retention),
        maintenance.upgrade_database(database),
        maintenance.keys(resealing),
        administration.users(admin, profiles),
        administration.sessions(admin),
    ]
