"""Admins who act on each other at once: whoever comes second is judged by what is so then."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import partial

import pytest
from flask import Flask
from sqlalchemy import select, text

from tests.support.app import services_of
from tests.support.authenticator import Authenticator
from tests.support.databases import ON_BOTH, ON_POSTGRESQL
from tests.support.desk import ORIGIN, Desk, words_of
from tests.support.waiting import eventually
from tests.test_administration import Operator
from wxsession.errors import Forbidden, NotSignedIn
from wxsession.events.audit import SYSTEM
from wxsession.operations.admins.admin import Admin, Role
from wxsession.operations.admins.ceremonies import Site
from wxsession.operations.admins.signing_in import AdminSession
from wxsession.services import Services
from wxsession.simulator import SettableClock
from wxsession.storage.tables import admins

SITE = Site("console.test", (ORIGIN,))

MakeDesk = Callable[..., Desk]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Return threads, in each of which somebody sends a form."""
    with ThreadPoolExecutor() as pool:
        yield pool


@contextmanager
def waiting(services: Services) -> Iterator[Callable[[int], None]]:
    """Keep every change of an admin waiting; yield what returns when so many wait.

    PostgreSQL lets them in one after another, in the order in which they came.
    """
    query = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def waits() -> int:
        with services.database.statement() as connection:
            count: int = connection.execute(query).scalar_one()
        return count

    with services.database.transaction() as transaction:
        transaction.execute(select(admins.c.id).with_for_update()).all()
        yield lambda count: eventually(lambda: waits() == count)


def session_at(desk: Desk) -> AdminSession:
    """Return the session of the admin who is signed in at a browser."""
    assert desk.cookie
    return services_of(desk.console).admin_sessions.check(desk.cookie)


def admin_at(desk: Desk) -> Admin:
    """Return that admin."""
    return session_at(desk).admin


def owners(services: Services) -> list[str]:
    """Return the names of those who can act as owners."""
    every = services.admins.every()
    return [one.name for one in every if one.role is Role.OWNER and not one.disabled_at]


def with_passkey(desk: Desk) -> Authenticator:
    """Return what registers a passkey of the admin who is signed in at a browser."""
    authenticator, passkeys = Authenticator(ORIGIN), services_of(desk.console).passkeys
    response = authenticator.register(passkeys.registration(admin_at(desk), SITE))
    registered = desk.act("/account/passkeys", name="laptop", response=response)
    assert registered.headers["Location"].startswith("/account")
    return authenticator


def authentication(services: Services) -> str:
    """Return the options by which a browser finds a passkey."""
    return services.passkeys.authentication(SITE)


def last_logins(services: Services) -> dict[str, datetime | None]:
    """Return by the name of each admin when it was last let in."""
    return {one.name: one.last_login_at for one in services.admins.every()}


# A reset, and a passkey that is registered meanwhile.


@ON_BOTH
def test_who_was_reset_after_a_request_was_let_in_registers_no_passkey(
    desk: Desk, make_desk: MakeDesk
) -> None:
    services = services_of(desk.enter().console)
    bob = make_desk("bob").enter()
    session, admin = session_at(bob), admin_at(bob)
    response = Authenticator(ORIGIN).register(services.passkeys.registration(admin, SITE))
    link = services.admins.reset("bob", actor="ada")
    assert bob.accept(f"/link/{link.token}").status_code == 303  # a session, but another one
    with pytest.raises(NotSignedIn):
        services.passkeys.register(session, "laptop", response, SITE, SYSTEM)
    assert services.passkeys.of(admin) == []


@ON_POSTGRESQL
def test_a_passkey_that_waits_for_a_reset_is_not_registered(
    desk: Desk, make_desk: MakeDesk, pool: ThreadPoolExecutor
) -> None:
    services = services_of(desk.enter().console)
    bob = make_desk("bob").enter()
    admin, token = admin_at(bob), bob.form_token()
    response = Authenticator(ORIGIN).register(services.passkeys.registration(admin, SITE))
    with waiting(services) as until:
        reset = pool.submit(desk.act, "/admins/bob/reset")
        until(1)
        form = {"form_token": token, "name": "laptop", "response": response}
        registered = pool.submit(bob.post, "/account/passkeys", **form)
        until(2)
    assert "Give this link to bob" in reset.result().text
    assert registered.result().headers["Location"] == "/sign-in"
    assert services.passkeys.of(admin) == []


# Two owners who act on each other.


@ON_BOTH
@pytest.mark.parametrize("act", ["disable", "change_role"])
def test_who_was_made_no_owner_after_a_request_was_let_in_takes_nothing_from_the_other(
    desk: Desk, make_desk: MakeDesk, act: str
) -> None:
    services = services_of(desk.enter().console)
    register, (ada, bob) = services.admins, map(admin_at, (desk, make_desk("bob").enter()))
    taking: dict[str, Callable[..., None]] = {
        "disable": register.disable,
        "change_role": partial(register.change_role, role=Role.SUPPORT),
    }
    taking[act]("bob", owner=ada)
    with pytest.raises(Forbidden):
        taking[act]("ada", owner=bob)
    assert owners(services) == ["ada"]


@ON_POSTGRESQL
@pytest.mark.parametrize(("act", "form"), [("disable", {}), ("role", {"role": "viewer"})])
def test_of_two_owners_who_take_that_from_each_other_at_once_one_is_left(
    desk: Desk, make_desk: MakeDesk, pool: ThreadPoolExecutor, act: str, form: dict[str, str]
) -> None:
    services = services_of(desk.enter().console)
    bob = make_desk("bob").enter()
    forms = [(one, form | {"form_token": one.form_token()}) for one in (desk, bob)]
    with waiting(services) as until:
        first = pool.submit(desk.post, f"/admins/bob/{act}", **forms[0][1])
        until(1)
        second = pool.submit(bob.post, f"/admins/ada/{act}", **forms[1][1])
        until(2)
    assert first.result().status_code == 303
    assert second.result().status_code == 403
    assert "Your role does not allow that." in words_of(second.result())
    assert owners(services) == ["ada"]


@ON_BOTH
def test_however_many_owners_act_on_each_other_at_once_one_is_left(
    make_desk: MakeDesk, pool: ThreadPoolExecutor
) -> None:
    desks = [make_desk(name).enter() for name in ("ada", "bob", "carol", "dave")]
    forms = [(one, one.form_token()) for one in desks]
    gate = threading.Barrier(len(desks))

    def disable_the_others(desk: Desk, token: str) -> set[int]:
        gate.wait()
        others = [other for other in desks if other is not desk]
        return {
            desk.post(f"/admins/{other.name}/disable", form_token=token).status_code
            for other in others
        }

    answers = pool.map(disable_the_others, *zip(*forms, strict=True))
    assert set().union(*answers) <= {303, 403}
    assert len(owners(services_of(desks[0].console))) == 1


@ON_BOTH
def test_on_the_server_also_the_last_owner_is_disabled(desk: Desk) -> None:
    services = services_of(desk.enter().console)
    services.admins.disable("ada")
    assert owners(services) == []


# A reset, and a link that is opened meanwhile.


@ON_POSTGRESQL
def test_a_link_that_is_sent_while_its_admin_is_reset_is_over_and_the_new_one_holds(
    desk: Desk, make_desk: MakeDesk, pool: ThreadPoolExecutor
) -> None:
    services = services_of(desk.enter().console)
    bob = make_desk("bob")
    link = bob.added()
    with waiting(services) as until:
        reset = pool.submit(desk.act, "/admins/bob/reset")
        until(1)
        accepted = pool.submit(bob.accept, link)
        until(2)
    (new_link,) = re.findall(r"https://console\.test(/link/[\w-]+)", reset.result().text)
    assert accepted.result().status_code == 410
    assert bob.accept(new_link).status_code == 303


# When an admin was last let in.


@ON_BOTH
def test_a_second_factor_that_is_asked_again_is_no_login(
    desk: Desk, make_desk: MakeDesk, clock: SettableClock
) -> None:
    services = services_of(desk.enter().console)
    bob = make_desk("bob").enter()
    entered = clock()
    keys = {one.name: with_passkey(one) for one in (desk, bob)}
    clock.advance(minutes=11)
    form = {"name": "carol", "role": "viewer"}
    for accepted, factor in (
        (False, {"second_factor_passkey": keys["bob"].respond(authentication(services))}),
        (True, {"second_factor_passkey": keys["ada"].respond(authentication(services))}),
    ):
        asked = desk.act("/admins", **form, **factor)
        assert ("Give this link to carol" in asked.text) == accepted
    clock.advance(minutes=11)
    assert desk.act("/admins/carol/disable", second_factor_code=desk.code()).status_code == 303
    assert last_logins(services) == {"ada": entered, "bob": entered, "carol": None}
    bob.post("/sign-in/passkey", response=keys["bob"].respond(authentication(services)))
    assert bob.is_in
    assert last_logins(services) == {"ada": entered, "bob": clock(), "carol": None}
    desk.sign_in()
    assert last_logins(services)["ada"] == clock()


# A reset of somebody who is disabled.


@pytest.mark.parametrize(
    ("language", "said"), [("en", "enable the admin first"), ("zh", "请先启用")]
)
def test_a_disabled_admin_is_enabled_before_a_reset_and_nothing_is_forgotten(
    app: Flask, desk: Desk, make_desk: MakeDesk, language: str, said: str
) -> None:
    desk.enter()
    desk.language = language
    bob = make_desk("bob").enter()
    desk.act("/admins/bob/disable")
    refused = desk.act("/admins/bob/reset")
    assert refused.status_code == 400
    assert said in words_of(refused)
    operator = Operator(app)
    said_there = operator.run("admins", "reset", "bob")
    assert said_there.exit_code == 1
    assert "enable the admin first (`admins enable NAME`)" in said_there.output
    assert "/link/" not in said_there.output
    operator.read("admins", "enable", "bob")
    assert bob.sign_in().status_code == 303
    operator.read("admins", "reset", "bob")
    assert not bob.is_in
