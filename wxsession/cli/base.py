"""What a command is: it gets the services, and an error of theirs is a message and a status."""

import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from wxsession.errors import (
    ClocksDisagree,
    ForeignTables,
    InvalidRequest,
    NoSuchSession,
    NoSuchUser,
    OldNamesInUse,
    PurgeRunning,
    UnknownRevision,
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
    "last_credential": "the user would have no way left to log in; `identities move` can do that",
    "identity_bound": "the other user has a WeChat user of this app already",
    "user_blocked": "one of the users is disabled; enable it first",
    "username_taken": "another user has this username",
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
    match error:
        case PurgeRunning():
            click.echo("Another purge is running.", err=True)
            sys.exit(EXIT_ANOTHER_IS_RUNNING)
        case ClocksDisagree():
            message = (
                f"this host's clock and the database's differ by {error.seconds} seconds; nothing"
                " was deleted. Set the clock of the one that is wrong."
            )
        case ForeignTables():
            message = (
                f"the database already has {', '.join(error.tables)}, which this command did not"
                " create; nothing was changed. Rename them, or let WXSESSION_DATABASE_URL name"
                " another database"
            )
        case OldNamesInUse():
            message = (
                "the tables of wxsession get names that begin with wxsession_, but SQLite cannot"
                f" rename what foreign keys of {', '.join(error.tables)} refer to; nothing was"
                " changed. Drop these foreign keys, run this again, and create them again"
            )
        case UnknownRevision():
            message = (
                f"the table wxsession_version is at revision {error.revision}, which this version"
                " of wxsession does not know; nothing was changed. Install the version that"
                " upgraded this database, or a newer one"
            )
        case InvalidRequest():
            message = "; ".join(f"{one['field']} {one['message']}" for one in error.errors)
        case UserMerged():
            message = f"this user was merged into {error.new_id}"
        case NoSuchUser():
            message = "no user has this id"
        case NoSuchSession():
            message = "no session has this id"
        case _:
            message = _CURES.get(error.code, f"{error.code}: see the log").format(flask=flask)
    raise click.ClickException(message) from None
