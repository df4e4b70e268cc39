"""The audit knows how each session ended, by whom, and from where: in the same transaction."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import func, insert, select

from tests.support.databases import ON_BOTH
from tests.support.phone import Phone
from tests.support.statements import overhearing
from wxsession.services import Services
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.database import new_id
from wxsession.storage.tables import audit_events, sessions

pytestmark = ON_BOTH

ELSEWHERE = "198.51.100.9"


def ends(services: Services) -> list[tuple[Any, ...]]:
    """Return reason, session, count, address and actor of the ends, in their order."""
    c = audit_events.c
    query = select(c.reason, c.session_id, c.count, c.client_address, c.actor)
    query = query.where(c.event == "session.ended").order_by(c.at, c.id)
    with services.database.statement() as connection:
        return [tuple(row) for row in connection.execute(query)]


def events(services: Services) -> int:
    """Return how many events there are."""
    with services.database.statement() as connection:
        return connection.execute(select(func.count()).select_from(audit_events)).scalar_one()


def add_sessions(services: Services, count: int) -> None:
    """Add sessions to the only one there is, of the same user."""
    with services.database.transaction() as connection:
        like = dict(connection.execute(select(sessions)).mappings().one())
        connection.execute(insert(sessions), [{**like, "id": new_id()} for _ in range(count)])


def session_of(answer: Any) -> UUID:
    """Return the session that a login has made."""
    return UUID(answer.json["session_id"])


def test_a_logout_is_noted_once(phone: Phone, services: Services) -> None:
    session_id = session_of(phone.log_in())
    phone.address = ELSEWHERE
    for _ in range(3):
        phone.log_out()
    assert ends(services) == [("logout", session_id, 1, ELSEWHERE, None)]
    with services.database.statement() as connection:
        noted = select(audit_events).where(audit_events.c.event == "session.ended")
        row = connection.execute(noted).one()
        owner = select(sessions.c.user_id).where(sessions.c.id == session_id)
        assert row.user_id == connection.execute(owner).scalar_one()
        assert row.user_agent == phone.user_agent


def test_a_logout_everywhere_counts_the_others_and_names_the_own_one(
    make_phone: Callable[..., Phone], services: Services
) -> None:
    phone = make_phone()
    session_id = session_of(phone.log_in())
    add_sessions(services, 1500)
    assert phone.log_out(everywhere=True).status_code == 204
    assert [(reason, id_, count) for reason, id_, count, *_ in ends(services)] == [
        ("logout", None, 1000),
        ("logout", None, 500),
        ("logout", session_id, 1),
    ]


def test_a_session_that_its_user_ends_is_noted_with_who_asked(
    make_phone: Callable[..., Phone], services: Services
) -> None:
    here, lost = make_phone(), make_phone(address=ELSEWHERE)
    here.log_in()
    its_id = session_of(lost.log_in())
    for _ in range(2):
        here.send("DELETE", f"/sessions/{its_id}", token=here.token)
    assert ends(services) == [("revoked", its_id, 1, here.address, None)]


def test_what_ends_nothing_is_not_noted(
    make_phone: Callable[..., Phone], services: Services
) -> None:
    alice, bob = make_phone("alice"), make_phone("bob")
    alice.log_in()
    of_bob = session_of(bob.log_in())
    before = events(services)
    alice.send("DELETE", f"/sessions/{of_bob}", token=alice.token)
    alice.log_out("nonsense")
    assert events(services) == before


def test_a_login_notes_what_it_replaces(phone: Phone, services: Services) -> None:
    first = session_of(phone.log_in())
    phone.log_in(token=phone.token)
    assert ends(services) == [("replaced", first, 1, phone.address, None)]


def test_a_login_notes_what_the_cap_ends(
    make_app: Callable[..., Flask], wechat: WeChat, clock: SettableClock
) -> None:
    app = make_app(max_sessions=2)
    services: Services = app.extensions["wxsession"]
    phones = [Phone(app, wechat, "alice") for _ in range(3)]
    made = []
    for phone in phones:
        made.append(session_of(phone.log_in()))
        clock.advance(minutes=1)
    assert ends(services) == [("evicted", made[0], 1, phones[0].address, None)]


def test_a_cap_that_was_lowered_ends_many_sessions_in_one_event(
    make_app: Callable[..., Flask], wechat: WeChat, clock: SettableClock
) -> None:
    app = make_app(max_sessions=3)
    services: Services = app.extensions["wxsession"]
    phone = Phone(app, wechat, "alice")
    phone.log_in()
    add_sessions(services, 10)
    clock.advance(minutes=1)
    replaced = session_of(phone.log_in())
    clock.advance(minutes=1)
    lower = Phone(make_app(max_sessions=2), wechat, "alice")
    lower.log_in(token=phone.token)
    first, *then = [(reason, id_, count) for reason, id_, count, *_ in ends(services)]
    assert first == ("evicted", None, 9)
    assert len(then) == 2
    assert ("replaced", replaced, 1) in then
    assert {(reason, count) for reason, _, count in then} == {("replaced", 1), ("evicted", 1)}


def test_a_login_that_ends_nothing_costs_one_event(phone: Phone, services: Services) -> None:
    phone.log_in()
    before = events(services)
    phone.log_in()
    assert events(services) == before + 1


def test_a_changed_password_is_noted_with_the_sessions_that_it_ends(
    make_phone: Callable[..., Phone], services: Services
) -> None:
    phone = make_phone()
    credentials = {"username": "alice", "password": "the first of two"}
    phone.token = phone.send("POST", "/register", json=credentials).json["session_token"]
    other = make_phone(address=ELSEWHERE)
    other_id = session_of(other.send("POST", "/login", json=credentials))
    change = {"password": "the first of two", "new_password": "the second of two"}
    assert phone.send("PUT", "/password", json=change, token=phone.token).status_code < 300
    assert ends(services) == [("password_changed", other_id, 1, phone.address, None)]


@pytest.mark.parametrize("way", ["logout", "revoke", "replace"])
def test_a_session_ends_with_its_event_or_not_at_all(
    phone: Phone, services: Services, way: str
) -> None:
    session_id = phone.log_in().json["session_id"]

    def fail(statement: str) -> None:
        if "INTO wxsession_events" in statement:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), overhearing(services.database, before=fail):
        if way == "logout":
            phone.log_out()
        elif way == "revoke":
            phone.send("DELETE", f"/sessions/{session_id}", token=phone.token)
        else:
            phone.log_in(token=phone.token)
    assert phone.check().status_code == 200
    assert ends(services) == []
