"""What a command is: it gets the services, and an error of theirs is a message and a status."""

import io
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import click

from wxsession.cli.output import in_terminal_language, words
from wxsession.errors import (
    ClocksDisagree,
    DeliveryRunning,
    ForeignTables,
    InvalidRequest,
    NoSuchAdmin,
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

_NO_CURE = "{code}: see the log"

pass_services = click.make_pass_decorator(Services)
"""Gives a function the services as its first argument."""


class Command(click.Command):
    """A command that exits with a message and a status when a service raises an error."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A nickname may have what GBK has not, and a file is in GBK on a Chinese Windows.
            sys.stdout.reconfigure(errors="backslashreplace")  # as stderr is
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
        click.echo(words(running), err=True)
        sys.exit(EXIT_ANOTHER_IS_RUNNING)
    say = _MESSAGES.get(type(error))
    cure = _CURES.get(error.code, _NO_CURE)
    raise click.ClickException(
        say(error) if say else words(cure, flask=flask, code=error.code)
    ) from None


_RUNNING: Mapping[type[WxSessionError], str] = {
    PurgeRunning: "Another purge is running.",
    DeliveryRunning: "Another process delivers to this webhook.",
}

_MESSAGES: Mapping[type[WxSessionError], Callable[[Any], str]] = {
    ClocksDisagree: lambda error: words(
        "this host's clock and the database's differ by {seconds} seconds; nothing was"
        " deleted. Set the clock of the one that is wrong.",
        seconds=error.seconds,
    ),
    ForeignTables: lambda error: words(
        "the database already has {tables}, which this command did not create; nothing was"
        " changed. Rename them, or let WXSESSION_DATABASE_URL name another database",
        tables=", ".join(error.tables),
    ),
    OldNamesInUse: lambda error: words(
        "the tables of wxsession get names that begin with wxsession_, but SQLite cannot"
        " rename what foreign keys of {tables} refer to; nothing was changed. Drop these"
        " foreign keys, run this again, and create them again",
        tables=", ".join(error.tables),
    ),
    UnknownRevision: lambda error: words(
        "the table wxsession_version is at revision {revision}, which this version of"
        " wxsession does not know; nothing was changed. Install the version that upgraded"
        " this database, or a newer one",
        revision=error.revision,
    ),
    UnknownWebhook: lambda error: words(
        "no webhook has this name; WXSESSION_WEBHOOKS has {names}",
        names=", ".join(error.names) or "-",
    ),
    InvalidRequest: lambda error: "; ".join(
        f"{one['field']} {in_terminal_language(one['message'])}" for one in error.errors
    ),
    UserMerged: lambda error: words("this user was merged into {user_id}", user_id=error.new_id),
    NoSuchUser: lambda _error: words("no user has this id"),
    NoSuchAdmin: lambda _error: words("no admin has this name"),
    NoSuchSession: lambda _error: words("no session has this id"),
}
