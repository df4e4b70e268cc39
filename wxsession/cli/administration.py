"""Administration: ``flask users …`` and ``flask sessions …``."""

import dataclasses
import sys
from uuid import UUID

import click

from wxsession.cli import options
from wxsession.cli.output import (
    EXIT_NOT_ALL,
    Progress,
    exit_on_error,
    json_option,
    print_facts,
    print_json,
    print_table,
)
from wxsession.operations.administration import (
    Administration,
    Page,
    SessionLine,
    UserDetails,
    UserFilter,
    UserLine,
)
from wxsession.users.phone_numbers import PhoneNumber
from wxsession.wechat.key_checks import KeyChecks, SessionKeysReset


def users(  # noqa: C901 - a list of commands, however long
    admin: Administration, key_checks: KeyChecks
) -> click.Group:
    """Return the commands about users."""

    @click.group("users")
    def users() -> None:
        """Look users up, disable and enable them, end their sessions."""

    @users.command("list")
    @click.option("--username", type=options.TEXT)
    @click.option("--phone", type=options.PHONE, help="The number without its country code.")
    @click.option("--country-code", type=options.COUNTRY_CODE, default="86", show_default=True)
    @click.option("--openid", type=options.TEXT)
    @click.option("--unionid", type=options.TEXT)
    @click.option("--disabled", is_flag=True, help="Only those who are disabled.")
    @options.limit
    @options.after
    @json_option
    def list_users(  # noqa: PLR0913 - click hands over each option
        username: str | None,
        phone: str | None,
        country_code: str,
        openid: str | None,
        unionid: str | None,
        limit: int,
        after: UUID | None,
        *,
        disabled: bool,
        as_json: bool,
    ) -> None:
        """List users, oldest first."""
        wanted = UserFilter(
            username=username,
            phone=PhoneNumber(phone, country_code) if phone is not None else None,
            openid=openid,
            unionid=unionid,
            disabled=disabled,
        )
        page = exit_on_error(lambda: admin.users(wanted, limit=limit, after=after))
        if as_json:
            print_json({"users": page.items, "next": page.next})
            return
        titles = ("USER ID", "STATE", "CREATED", "PHONE", "USERNAME", "NICKNAME")
        print_table(titles, [_user_row(user) for user in page.items])
        _say_more(page)

    @users.command("show")
    @options.user_id
    @json_option
    def show(user_id: UUID, *, as_json: bool) -> None:
        """Show a user, with WeChat identities and the last audit events."""
        details = exit_on_error(lambda: admin.user(user_id))
        if as_json:
            print_json(details)
        else:
            _print_user(details)

    @users.command("disable")
    @options.user_id
    @options.actor
    @json_option
    def disable(user_id: UUID, actor: str, *, as_json: bool) -> None:
        """Keep a user out, and end every session; may be stopped and run again."""
        with Progress("sessions ended") as progress:
            ended = exit_on_error(lambda: admin.disable(user_id, actor=actor, progress=progress))
        if as_json:
            print_json({"user_id": user_id, "disabled": True, "sessions_ended": ended})
        else:
            click.echo(f"The user is disabled; {ended} sessions ended.")

    @users.command("enable")
    @options.user_id
    @options.actor
    @json_option
    def enable(user_id: UUID, actor: str, *, as_json: bool) -> None:
        """Let a disabled user log in again."""
        exit_on_error(lambda: admin.enable(user_id, actor=actor))
        if as_json:
            print_json({"user_id": user_id, "disabled": False})
        else:
            click.echo("The user may log in.")

    @users.command("end-sessions")
    @options.user_id
    @options.actor
    @json_option
    def end_sessions(user_id: UUID, actor: str, *, as_json: bool) -> None:
        """End every session of a user; may be stopped and run again."""
        with Progress("sessions ended") as progress:
            ended = exit_on_error(
                lambda: admin.end_sessions(user_id, actor=actor, progress=progress)
            )
        if as_json:
            print_json({"user_id": user_id, "sessions_ended": ended})
        else:
            click.echo(f"{ended} sessions ended.")

    @users.command("reset-session-keys")
    @options.user_id
    @options.actor
    @json_option
    def reset_session_keys(user_id: UUID, actor: str, *, as_json: bool) -> None:
        """Let WeChat replace a user's session_keys, after one may have leaked.

        Exits with 0 when none is left that is good, 5 when there are some that WeChat could not
        be asked about, 1 when WeChat or the database does not answer.
        """
        exit_on_error(lambda: admin.user(user_id))
        done = exit_on_error(lambda: key_checks.reset(user_id, actor=actor))
        _print_reset(user_id, done, as_json=as_json)

    return users


def sessions(admin: Administration) -> click.Group:
    """Return the commands about sessions."""

    @click.group("sessions")
    def sessions() -> None:
        """Look sessions up, and end them."""

    @sessions.command("list")
    @click.option("--user", "user_id", type=click.UUID, default=None, help="Of this user alone.")
    @click.option("--all", "every", is_flag=True, help="Those that are over as well.")
    @options.limit
    @options.after
    @json_option
    def list_sessions(
        user_id: UUID | None, limit: int, after: UUID | None, *, every: bool, as_json: bool
    ) -> None:
        """List live sessions, newest first."""
        page = exit_on_error(lambda: admin.sessions(user_id, every=every, limit=limit, after=after))
        if as_json:
            print_json({"sessions": page.items, "next": page.next})
            return
        titles = ("SESSION ID", "USER ID", "STATE", "CREATED", "EXPIRES", "ADDRESS", "USER AGENT")
        print_table(titles, [_session_row(session) for session in page.items])
        _say_more(page)

    @sessions.command("show")
    @options.session_id
    @json_option
    def show(session_id: UUID, *, as_json: bool) -> None:
        """Show a session, live or over."""
        session = exit_on_error(lambda: admin.session(session_id))
        if as_json:
            print_json(session)
        else:
            facts = dataclasses.asdict(session)
            print_facts({name.replace("_", " "): value for name, value in facts.items()})

    @sessions.command("end")
    @options.session_id
    @options.actor
    @json_option
    def end(session_id: UUID, actor: str, *, as_json: bool) -> None:
        """End a session; one that is over already stays so."""
        ended = exit_on_error(lambda: admin.end_session(session_id, actor=actor))
        if as_json:
            print_json({"session_id": session_id, "ended": ended})
        else:
            click.echo("The session is ended." if ended else "The session was over already.")

    return sessions


def _print_reset(user_id: UUID, done: SessionKeysReset, *, as_json: bool) -> None:
    """Print what was reset, and exit if that was not all."""
    if as_json:
        counts = done._asdict()
        print_json({"user_id": user_id, "session_keys_reset": counts.pop("reset"), **counts})
    else:
        replaced = f" {done.dead} had been replaced before." if done.dead else ""
        click.echo(f"{done.reset} session_keys reset.{replaced}")
    for count, cure in (
        (done.unopened, "key that opens them to WXSESSION_SECRET_KEYS"),
        (done.of_other_apps, "app to WXSESSION_APPS"),
    ):
        if count:
            click.echo(f"{count} could not be reset: add the {cure}, and run this again.", err=True)
    if done.unopened or done.of_other_apps:
        sys.exit(EXIT_NOT_ALL)


def _say_more(page: Page[UserLine] | Page[SessionLine]) -> None:
    if page.next is not None:
        click.echo(f"There are more: --after {page.next}")


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


def _print_user(details: UserDetails) -> None:
    user = details.user
    print_facts(
        {
            "user id": user.user_id,
            "username": user.username,
            "nickname": user.nickname,
            "phone number": user.phone_number,
            "created": user.created_at,
            "disabled": user.disabled_at,
            "live sessions": details.live_sessions,
        }
    )
    if details.identities:
        click.echo()
        print_table(
            ("APPID", "BOUND", "OPENID", "UNIONID"),
            [(one.appid, one.created_at, one.openid, one.unionid) for one in details.identities],
        )
    if details.events:
        click.echo()
        print_table(
            (
                *("AT", "EVENT", "COUNT", "REASON", "BY", "SESSION ID"),
                *("APPID", "ADDRESS", "USER AGENT"),
            ),
            [
                (
                    *(event.at, event.event, event.count, event.reason),
                    *(event.actor, event.session_id),
                    *(event.appid, event.client_address, event.user_agent),
                )
                for event in details.events
            ],
        )
