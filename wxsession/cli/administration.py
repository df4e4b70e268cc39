"""Administration: ``flask users …`` and ``flask sessions …``."""

import dataclasses
import sys
from datetime import datetime, timedelta
from uuid import UUID

import click

from wxsession.cli import options
from wxsession.cli.base import EXIT_NOT_ALL, Group, pass_services
from wxsession.cli.output import (
    Progress,
    as_text,
    event_table,
    facts,
    json_option,
    show,
    table,
    words,
)
from wxsession.operations.directory import (
    SessionLine,
    UserDetails,
    UserFilter,
    UserLine,
)
from wxsession.operations.passwords import TemporaryPassword
from wxsession.services import Services
from wxsession.wechat.key_checks import SessionKeysReset


@click.group("users", cls=Group)
def users() -> None:
    """Look users up, disable, enable and delete them, end their sessions."""


@users.command("list")
@options.user_filter
@options.limit
@options.after
@json_option
@pass_services
def list_users(services: Services, wanted: UserFilter, limit: int, after: UUID | None) -> None:
    """List users, oldest first."""
    page = services.directory.users(wanted, limit=limit, after=after)
    titles = ("USER ID", "STATE", "CREATED", "PHONE", "USERNAME", "NICKNAME")
    rows = [_user_row(user) for user in page.items]
    show({"users": page.items, "next": page.next}, table(titles, rows) + _more(page.next))


@users.command("show")
@options.user_id
@json_option
@pass_services
def show_user(services: Services, user_id: UUID) -> None:
    """Show a user, with WeChat identities and the last audit events."""
    details = services.directory.user(user_id)
    show(details, _described(details))


@users.command("merges")
@options.since
@options.limit
@options.after
@json_option
@pass_services
def merges(services: Services, since: datetime | None, limit: int, after: UUID | None) -> None:
    """List which users became which, oldest first."""
    page = services.directory.merges(since, limit=limit, after=after)
    rows = [(merge.merged_at, merge.old_id, merge.new_id) for merge in page.items]
    show(
        {"merges": page.items, "next": page.next},
        table(("AT", "OLD USER ID", "NEW USER ID"), rows) + _more(page.next),
    )


@users.command("disable")
@options.user_id
@options.actor
@json_option
@pass_services
def disable(services: Services, user_id: UUID, actor: str) -> None:
    """Disable a user and end every session; can be stopped and run again."""
    with Progress("sessions ended") as progress:
        ended = services.administration.disable(user_id, actor=actor, progress=progress)
    show(
        {"user_id": user_id, "disabled": True, "sessions_ended": ended},
        words("The user is disabled; {count} sessions ended.", count=ended),
    )


@users.command("enable")
@options.user_id
@options.actor
@json_option
@pass_services
def enable(services: Services, user_id: UUID, actor: str) -> None:
    """Let a disabled user log in again."""
    services.administration.enable(user_id, actor=actor)
    show({"user_id": user_id, "disabled": False}, words("The user may log in."))


@users.command("end-sessions")
@options.user_id
@options.actor
@json_option
@pass_services
def end_sessions(services: Services, user_id: UUID, actor: str) -> None:
    """End every session of a user; can be stopped and run again."""
    with Progress("sessions ended") as progress:
        ended = services.administration.end_sessions(user_id, actor=actor, progress=progress)
    text = words("{count} sessions ended.", count=ended)
    show({"user_id": user_id, "sessions_ended": ended}, text)


@users.command("export")
@options.user_id
@options.actor
@json_option
@pass_services
def export(services: Services, user_id: UUID, actor: str) -> None:
    """Print all that is known of a user, as JSON; the phone number is whole."""
    for piece in services.export.of_user(user_id, actor=actor).pieces():
        click.echo(piece, nl=False)
    click.echo()


@users.command("delete")
@options.user_id
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.actor
@json_option
@pass_services
def delete(services: Services, user_id: UUID, actor: str, *, yes: bool) -> None:
    """Delete a user for good; can be stopped and run again.

    Nothing that says who it was stays in the database: no identity, name, number or address.
    """
    if not yes:
        click.confirm(words("Delete this user for good?"), abort=True, err=True)
    with Progress("sessions and events cleared") as progress:
        services.deletion.delete(user_id, actor=actor, progress=progress)
    show({"user_id": user_id, "deleted": True}, words("The user is deleted."))


@users.command("create")
@options.username
@options.valid_for
@options.actor
@json_option
@pass_services
def create(services: Services, username: str, valid_for: timedelta, actor: str) -> None:
    """Create a user with a username and a temporary password, which is shown only once."""
    made = services.passwords.create(username, valid_for=valid_for, actor=actor)
    created = words("The user {user_id} is created.", user_id=made.user_id)
    show(made, f"{created}\n{_temporary(made)}")


@users.command("set-password")
@options.user_id
@options.valid_for
@options.actor
@json_option
@pass_services
def set_password(services: Services, user_id: UUID, valid_for: timedelta, actor: str) -> None:
    """Give a user a temporary password, which is shown only once, and end every session.

    The user logs in with it, and sets another one (PUT /password) before it is over.
    """
    with Progress("sessions ended") as progress:
        made = services.passwords.set_temporary(
            user_id, valid_for=valid_for, actor=actor, progress=progress
        )
    ended = words("{count} sessions ended.", count=made.sessions_ended)
    show(made, f"{ended}\n{_temporary(made)}")


@users.command("unlock")
@options.user_or_name
@options.actor
@json_option
@pass_services
def unlock(services: Services, user: UUID | str, actor: str) -> None:
    """Let a user log in by password again, after too many wrong ones."""
    user_id = services.passwords.unlock(user, actor=actor)
    text = words("The wrong passwords are forgotten.")
    show({"user_id": user_id, "unlocked": True}, text)


@users.command("reset-session-keys")
@options.user_id
@options.actor
@json_option
@pass_services
def reset_session_keys(services: Services, user_id: UUID, actor: str) -> None:
    """Have WeChat replace a user's session_keys, after one may have leaked.

    Exits with 0 when no old one is valid any more, 5 when WeChat could not be asked about some
    of them, 1 when WeChat or the database does not respond.
    """
    services.directory.user(user_id)  # raises an error if it is unknown
    done = services.key_checks.reset(user_id, actor=actor)
    counts = done._asdict()
    value = {"user_id": user_id, "session_keys_reset": counts.pop("reset"), **counts}
    text = words("{count} session_keys reset.", count=done.reset)
    if done.dead:
        text += " " + words("{count} had been replaced before.", count=done.dead)
    show(value, text)
    _exit_unless_all(done)


@click.group("sessions", cls=Group)
def sessions() -> None:
    """Look sessions up, and end them."""


@sessions.command("list")
@click.option("--user", "user_id", type=click.UUID, default=None, help="Only those of this user.")
@click.option("--all", "every", is_flag=True, help="Expired and ended ones too.")
@options.limit
@options.after
@json_option
@pass_services
def list_sessions(
    services: Services, user_id: UUID | None, limit: int, after: UUID | None, *, every: bool
) -> None:
    """List live sessions, newest first."""
    page = services.directory.sessions(user_id, every=every, limit=limit, after=after)
    titles = ("SESSION ID", "USER ID", "STATE", "CREATED", "EXPIRES", "ADDRESS", "USER AGENT")
    rows = [_session_row(session) for session in page.items]
    show({"sessions": page.items, "next": page.next}, table(titles, rows) + _more(page.next))


@sessions.command("show")
@options.session_id
@json_option
@pass_services
def show_session(services: Services, session_id: UUID) -> None:
    """Show a session, live or not."""
    session = services.directory.session(session_id)
    named = dataclasses.asdict(session)
    show(session, facts({name.replace("_", " "): value for name, value in named.items()}))


@sessions.command("end")
@options.session_id
@options.actor
@json_option
@pass_services
def end_session(services: Services, session_id: UUID, actor: str) -> None:
    """End a session, if it is live."""
    ended = services.administration.end_session(session_id, actor=actor)
    text = words("The session is ended.") if ended else words("The session was not live.")
    show({"session_id": session_id, "ended": ended}, text)


@sessions.command("end-all")
@click.option("--appid", type=options.TEXT, default=None, help="Of this app's WeChat users.")
@click.option("--everybody", is_flag=True, help="Of everybody.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.actor
@json_option
@pass_services
def end_all(
    services: Services, appid: str | None, actor: str, *, everybody: bool, yes: bool
) -> None:
    """End the sessions of an app or of everybody; can be stopped and run again.

    A session by password belongs to no app.
    """
    if everybody == (appid is not None):
        raise click.UsageError("say either --appid APPID or --everybody")
    if not yes:
        question = (
            words("End the sessions of everybody?")
            if everybody
            else words("End the sessions of all WeChat users of {appid}?", appid=appid)
        )
        click.confirm(question, abort=True, err=True)
    with Progress("sessions ended") as progress:
        ended = services.administration.end_all_sessions(appid, actor=actor, progress=progress)
    text = words("{count} sessions ended.", count=ended)
    show({"appid": appid, "sessions_ended": ended}, text)


def _exit_unless_all(done: SessionKeysReset) -> None:
    """Say what could not be reset, and exit if there is any."""
    if done.unopened:
        text = words(
            "{count} could not be reset: add the key that opens them to WXSESSION_SECRET_KEYS, and"
            " run this again.",
            count=done.unopened,
        )
        click.echo(text, err=True)
    if done.of_other_apps:
        text = words(
            "{count} could not be reset: add the app to WXSESSION_APPS, and run this again.",
            count=done.of_other_apps,
        )
        click.echo(text, err=True)
    if done.unopened or done.of_other_apps:
        sys.exit(EXIT_NOT_ALL)


def _more(next_: UUID | None) -> str:
    return "" if next_ is None else "\n" + words("There are more: --after {id}", id=next_)


def _temporary(made: TemporaryPassword) -> str:
    return words(
        "The password of {username} until {moment}: {password}",
        username=as_text(made.username),
        moment=as_text(made.valid_until),
        password=made.password,
    )


def _user_row(user: UserLine) -> tuple[object, ...]:
    return (
        user.user_id,
        _state(user),
        user.created_at,
        user.phone_number,
        user.username,
        user.nickname,
    )


def _state(user: UserLine) -> str:
    return "disabled" if user.disabled_at else "enabled"


def _session_row(session: SessionLine) -> tuple[object, ...]:
    state = f"{session.state}: {session.reason}" if session.reason else session.state
    return (
        session.session_id,
        session.user_id,
        state,
        session.created_at,
        session.expires_at,
        session.client_address,
        session.user_agent,
    )


def _described(details: UserDetails) -> str:
    user = details.user
    parts = [
        facts(
            {
                "user id": user.user_id,
                "username": user.username,
                "nickname": user.nickname,
                "phone number": user.phone_number,
                "created": user.created_at,
                "disabled": user.disabled_at,
                "live sessions": details.live_in_words(),
            }
        )
    ]
    if details.identities:
        bound = [(one.appid, one.created_at, one.openid, one.unionid) for one in details.identities]
        parts.append(table(("APPID", "BOUND", "OPENID", "UNIONID"), bound))
    if details.events:
        parts.append(event_table(details.events))
    return "\n\n".join(parts)
