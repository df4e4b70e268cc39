"""The commands: maintenance for a timer or an upgrade, administration for an operator."""

import copy

import click

from wxsession.cli.administration import sessions, users
from wxsession.cli.admins import admins
from wxsession.cli.audit import audit
from wxsession.cli.base import (
    EXIT_ANOTHER_IS_RUNNING,
    EXIT_MORE_IS_LEFT,
    EXIT_NOT_ALL,
    EmbeddedGroup,
)
from wxsession.cli.diagnosis import doctor, healthcheck
from wxsession.cli.events import events
from wxsession.cli.identities import identities
from wxsession.cli.maintenance import (
    downgrade_database,
    keys,
    purge_sessions,
    upgrade_database,
)
from wxsession.cli.output import Progress
from wxsession.services import Services

__all__ = [
    "EXIT_ANOTHER_IS_RUNNING",
    "EXIT_MORE_IS_LEFT",
    "EXIT_NOT_ALL",
    "Progress",
    "commands",
    "group",
]

_EVERY = (
    purge_sessions,
    upgrade_database,
    downgrade_database,
    keys,
    users,
    identities,
    sessions,
    events,
    audit,
    admins,
    doctor,
    healthcheck,
)


def commands(services: Services) -> list[click.Command]:
    """Return the commands over these services."""
    return [_bound(command, services) for command in _EVERY]


def group(services: Services) -> click.Group:
    """Return a group of them, which hides no command of a host application."""
    return EmbeddedGroup(
        "wxsession",
        commands={str(command.name): command for command in _EVERY},
        context_settings={"obj": services},
        help="Manage the users and sessions of wxsession, and its database.",
    )


def _bound(command: click.Command, services: Services) -> click.Command:
    """Return a copy that gives itself, or the commands of its group, these services."""
    bound = copy.copy(command)  # two applications in one process have services of their own
    bound.context_settings = {**command.context_settings, "obj": services}
    return bound
