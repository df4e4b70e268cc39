"""Lists that go on: with JavaScript, the rows of the next page take the place of "More"."""

import re
from collections.abc import Callable
from html import unescape
from uuid import UUID

import pytest
from sqlalchemy import update
from werkzeug.test import TestResponse

from tests.support.console import unlocked_by
from tests.support.databases import ON_BOTH
from tests.support.desk import Desk
from tests.support.phone import Phone
from tests.support.settings import APPID, OTHER_APPID
from tests.test_administration import add_sessions, session_of, user_of
from wxsession.events.search import EXAMINED
from wxsession.operations import session_search
from wxsession.services import Services
from wxsession.simulator import SettableClock
from wxsession.storage.tables import sessions


@pytest.fixture
def alice(make_phone: Callable[..., Phone]) -> Phone:
    """Return the phone of a user who is logged in."""
    phone = make_phone("alice")
    phone.log_in()
    return phone


def rows_in(page: TestResponse) -> list[str]:
    """Return what htmx takes from a page: the rows of the list that is found."""
    found = re.search(r'<div id="found">.*?<tbody>(.*?)</tbody>', page.text, re.DOTALL)
    assert found, page.text
    return re.findall(r"<tr.*?</tr>", found[1], re.DOTALL)


def follow(desk: Desk, row: str) -> list[str]:
    """Return the rows that a click on the last row of a list puts in its place."""
    (address,) = re.findall(r'hx-get="([^"]+)"', row)
    return rows_in(desk.get(unescape(address)))


def test_the_sessions_of_a_user_go_on(desk: Desk, alice: Phone, services: Services) -> None:
    desk.enter()
    add_sessions(services, 24)
    *shown, more = rows_in(desk.get(f"/users/{user_of(alice)}"))
    assert len(shown) == 20
    assert "More" in more
    rest = follow(desk, more)
    assert len(rest) == 5
    assert len({*shown, *rest}) == 25
    assert "More" not in rest[-1]


def test_the_sessions_of_everybody_go_on_whatever_else_the_address_has(
    desk: Desk, alice: Phone, services: Services
) -> None:
    desk.enter()
    add_sessions(services, 60)
    appid = alice.appid
    page = desk.get(f"/sessions?appid={appid}&endpoint=x&_method=PATCH&_external=1&after=x")
    *shown, more = rows_in(page)
    assert f"appid={appid}" in more
    assert len({*shown, *follow(desk, more)}) == 61


def test_a_search_for_events_goes_on_where_it_has_found_none(
    desk: Desk, services: Services, clock: SettableClock
) -> None:
    desk.enter()
    unlocked_by(services, "zed", clock, 3)
    unlocked_by(services, "yves", clock, 2 * EXAMINED)
    unlocked_by(services, "zed", clock, 1)
    first, more = rows_in(desk.get("/events?actor=zed"))
    assert "zed" in first
    (on,) = follow(desk, more)
    assert "None among those until this moment:" in on
    assert "Search on" in on
    assert len(follow(desk, on)) == 3


def test_a_search_for_sessions_goes_on_where_it_has_found_none(
    desk: Desk, alice: Phone, services: Services, clock: SettableClock
) -> None:
    desk.enter()
    oldest = UUID(session_of(alice))
    add_sessions(services, session_search.EXAMINED)
    all_but_oldest = update(sessions).where(sessions.c.id != oldest)
    with services.database.transaction() as transaction:
        transaction.execute(all_but_oldest.values(ended_at=clock(), end_reason="logout"))
    (on,) = rows_in(desk.get("/sessions"))
    assert "None among the sessions that were looked through." in on
    (found,) = follow(desk, on)
    assert str(oldest) in found


def test_whoever_is_signed_out_meanwhile_is_led_to_the_door_by_a_list_as_well(
    desk: Desk, clock: SettableClock
) -> None:
    desk.enter()
    clock.advance(minutes=31)
    asked = desk.get("/users?search=alice", **{"HX-Request": "true"})
    assert asked.status_code == 204  # of a redirect htmx would only see the page that it leads to
    assert asked.headers["HX-Redirect"] == "/sign-in?next=/users?search%3Dalice"


@ON_BOTH
def test_a_text_finds_users_of_the_app_and_the_state_that_the_form_shows(
    desk: Desk, make_phone: Callable[..., Phone], services: Services
) -> None:
    desk.enter()
    ids = {}
    for name, appid in (("alice", APPID), ("bob", OTHER_APPID), ("carol", APPID)):
        phone = make_phone(name)
        phone.appid = appid
        phone.log_in()
        phone.send("PATCH", "/user", json={"nickname": f"小 {name}"}, token=phone.token)
        ids[name] = user_of(phone)
    services.administration.disable(UUID(ids["carol"]))

    def found(text: str, filters: str) -> set[str]:
        page = desk.get(f"/users?search={text}&{filters}").text
        return {name for name, user_id in ids.items() if f'"/users/{user_id}"' in page}

    assert found("小", "") == {"alice", "bob", "carol"}
    assert found("小", f"appid={APPID}") == {"alice", "carol"}
    assert found("小", f"appid={APPID}&disabled=1") == {"carol"}
    assert found("小", f"appid={OTHER_APPID}&disabled=1") == set()
    assert found(ids["carol"], f"appid={APPID}&disabled=1") == {"carol"}
    assert found(ids["carol"], f"appid={OTHER_APPID}") == set()
    assert found(ids["bob"], "disabled=1") == set()
