"""The commands: maintenance for a timer or an upgrade, administration for an operator."""

import copy

import click

from wxsession.cli.administration import sessions, users
from wxsession.cli.base import EXIT_ANOTHER_IS_RUNNING, EXIT_MORE_IS_LEFT, EXIT_NOT_ALL
from wxsession.cli.maintenance import keys, purge_sessions, upgrade_database
from wxsession.cli.output import Progress
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
    every = (purge_sessions, upgrade_database, keys, users, sessions)
    return [_bound(command, services) for command in every]


def _bound(command: click.Command, services: Services) -> click.Command:
    """Return a copy that gives itself, or the commands of its group, these services."""
    bound = copy.copy(command)  # two applications in one process have services of their own
    bound.context_settings = {**command.context_settings, "obj": services}
    return bound
