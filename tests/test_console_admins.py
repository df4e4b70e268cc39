"""Admins who act on each other at once: whoever comes second is judged by what is so then."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import select, text

from tests.support.app import services_of
from tests.support.authenticator import Authenticator
from tests.support.databases import ON_BOTH, ON_POSTGRESQL
from tests.support.desk import ORIGIN, Desk
from tests.support.waiting import eventually
from wxsession.errors import NotSignedIn
from wxsession.events.audit import SYSTEM
from wxsession.operations.admins.admin import Admin
from wxsession.operations.admins.ceremonies import Site
from wxsession.services import Services
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


def admin_at(desk: Desk) -> Admin:
    """Return the admin who is signed in at a browser."""
    assert desk.cookie
    return services_of(desk.console).admin_sessions.check(desk.cookie).admin


# A reset, and a passkey that is registered meanwhile.


@ON_BOTH
def test_who_was_reset_after_a_request_was_let_in_registers_no_passkey(
    desk: Desk, make_desk: MakeDesk
) -> None:
    services = services_of(desk.enter().console)
    bob = admin_at(make_desk("bob").enter())
    response = Authenticator(ORIGIN).register(services.passkeys.registration(bob, SITE))
    services.admins.reset("bob", actor="ada")
    with pytest.raises(NotSignedIn):
        services.passkeys.register(bob, "laptop", response, SITE, SYSTEM)
    assert services.passkeys.of(bob) == []


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
