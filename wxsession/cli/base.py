"""What a command is: it gets the services, and an error of theirs is a message and a status."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import click

from wxsession.errors import (
    ClocksDisagree,
    DeliveryRunning,
    ForeignTables,
    InvalidRequest,
    NoSuchSession,
    NoSuchUser,
    OldNamesInUse,
    PurgeRunning,
    UnknownRevision,
    UnknownWebhook,
    UserMerged,
    WxSessionError,
)
from wxsession.services import Services

EXIT_MORE_IS_LEFT = 3
EXIT_ANOTHER_IS_RUNNING = 4
EXIT_NOT_ALL = 5
"""Something could not be done; the command says what is missing."""

_WECHAT_SILENT = "WeChat could not be asked; the log says why. Run this again later"
_CURES: Mapping[str, str] = {
    "not_ready": "the database has no schema of this version: run `{flask} upgrade-database`",
    "database_unavailable": (
        "the database cannot be used; the log says why. Check that it runs, and that"
        " WXSESSION_DATABASE_URL points to it"
    ),
    "overloaded": "the database did not respond in time; the log says why. Run this again",
    "app_rejected": "WeChat refuses the app; the log says what to correct",
    "wechat_rate_limited": _WECHAT_SILENT,
    "wechat_busy": _WECHAT_SILENT,
    "wechat_unreachable": _WECHAT_SILENT,
    "wechat_timeout": _WECHAT_SILENT,
    "wechat_unintelligible": _WECHAT_SILENT,
}

pass_services = click.make_pass_decorator(Services)
"""Gives a function the services as its first argument."""


class Command(click.Command):
    """A command that exits with a message and a status when a service raises an error."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except WxSessionError as error:
            _exit(error, "flask wxsession" if _is_embedded(ctx) else "flask --app wsgi")


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


class EmbeddedGroup(Group):
    """The group of all commands in a host application."""


def _is_embedded(ctx: click.Context | None) -> bool:
    return ctx is not None and (isinstance(ctx.command, EmbeddedGroup) or _is_embedded(ctx.parent))


def _exit(error: WxSessionError, flask: str) -> NoReturn:
    if running := _RUNNING.get(type(error)):
        click.echo(running, err=True)
        sys.exit(EXIT_ANOTHER_IS_RUNNING)
    say = _MESSAGES.get(type(error))
    cure = _CURES.get(error.code, f"{error.code}: see the log").format(flask=flask)
    raise click.ClickException(say(error) if say else cure) from None


_RUNNING: Mapping[type[WxSessionError], str] = {
    PurgeRunning: "Another purge is running.",
    DeliveryRunning: "Another process delivers to this webhook.",
}

_MESSAGES: Mapping[type[WxSessionError], Callable[[Any], str]] = {
    ClocksDisagree: lambda error: (
        f"this host's clock and the database's differ by {error.seconds} seconds; nothing"
        " was deleted. Set the clock of the one that is wrong."
    ),
    ForeignTables: lambda error: (
        f"the database already has {', '.join(error.tables)}, which this command did not"
        " create; nothing was changed. Rename them, or let WXSESSION_DATABASE_URL name"
        " another database"
    ),
    OldNamesInUse: lambda error: (
        "the tables of wxsession get names that begin with wxsession_, but SQLite cannot"
        f" rename what foreign keys of {', '.join(error.tables)} refer to; nothing was"
        " changed. Drop these foreign keys, run this again, and create them again"
    ),
    UnknownRevision: lambda error: (
        f"the table wxsession_version is at revision {error.revision}, which this version"
        " of wxsession does not know; nothing was changed. Install the version that"
        " upgraded this database, or a newer one"
    ),
    UnknownWebhook: lambda error: (
        "no webhook has this name; WXSESSION_WEBHOOKS has"
        f" {', '.join(error.names) if error.names else 'none'}"
    ),
    InvalidRequest: lambda error: "; ".join(
        f"{one['field']} {one['message']}" for one in error.errors
    ),
    UserMerged: lambda error: f"this user was merged into {error.new_id}",
    NoSuchUser: lambda _error: "no user has this id",
    NoSuchSession: lambda _error: "no session has this id",
}
