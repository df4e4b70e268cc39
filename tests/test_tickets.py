"""Tickets: a session goes to one other origin, once, within a minute, and never in a URL itself."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.support.databases import ON_BOTH
from tests.support.phone import Answer, Phone, problem
from tests.support.settings import APPID, SECRET_KEY
from wxsession.services import Services
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.tables import tickets

KEY = "an-api-key-that-is-made-up-for-tests"
SHOP = "https://shop.example.com"
OTHER = "https://other.example.com"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return a server with two places to go to, and a back end that may redeem."""
    return make_app(api_keys=f"shop:{KEY}", ticket_audiences=f"{SHOP},{OTHER}")


def ticket_of(phone: Phone, audience: str = SHOP) -> str:
    """Return a ticket of the phone's session."""
    answer = phone.send("POST", "/tickets", json={"audience": audience}, token=phone.token)
    assert answer.status_code == 200, answer.text
    assert answer.json["expires_in"] == 60
    ticket: str = answer.json["ticket"]
    return ticket


def redeem(phone: Phone, ticket: str, audience: str = SHOP, key: str = KEY) -> Answer:
    """Redeem a ticket as a back end does."""
    body = {"ticket": ticket, "audience": audience}
    return phone.send("POST", "/tickets/redeem", json=body, token=key)


def stored(services: Services) -> int:
    with services.database.statement() as connection:
        return connection.execute(select(func.count()).select_from(tickets)).scalar_one()


@ON_BOTH
def test_a_back_end_is_told_whose_ticket_it_is_as_introspection_tells(phone: Phone) -> None:
    grant = phone.log_in().json
    told = redeem(phone, ticket_of(phone))
    assert told.headers["Cache-Control"] == "no-store"
    assert (told.json["sub"], told.json["sid"]) == (grant["user"]["id"], grant["session_id"])
    assert told.json["appid"] == APPID
    introspected = phone.send(
        "POST",
        "/introspect",
        data={"token": phone.token},
        headers={"Authorization": f"Bearer {KEY}"},
    )
    assert told.json == introspected.json


@ON_BOTH
def test_a_ticket_is_good_once(phone: Phone, services: Services) -> None:
    phone.log_in()
    ticket = ticket_of(phone)
    assert stored(services) == 1
    assert redeem(phone, ticket).status_code == 200
    assert stored(services) == 0
    assert problem(redeem(phone, ticket)) == (400, "invalid_ticket", None)


@ON_BOTH
def test_of_fifty_at_once_one_redeems_it(phone: Phone) -> None:
    phone.log_in()
    ticket = ticket_of(phone)
    with ThreadPoolExecutor(50) as pool:
        told = list(pool.map(lambda _: redeem(phone, ticket), range(50)))
    assert sorted(answer.status_code for answer in told) == [200] + [400] * 49


@ON_BOTH
def test_it_is_good_for_a_minute(phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    first, second = ticket_of(phone), ticket_of(phone)
    clock.advance(seconds=59)
    assert redeem(phone, first).status_code == 200
    clock.advance(seconds=1)
    assert problem(redeem(phone, second)) == (400, "invalid_ticket", None)


@ON_BOTH
def test_it_is_good_for_its_own_audience_alone(phone: Phone) -> None:
    phone.log_in()
    ticket = ticket_of(phone)
    assert problem(redeem(phone, ticket, OTHER)) == (400, "invalid_ticket", None)
    assert redeem(phone, ticket, SHOP.upper()).status_code == 200


def test_it_ends_with_its_session(phone: Phone) -> None:
    phone.log_in()
    ticket = ticket_of(phone)
    phone.log_out()
    assert problem(redeem(phone, ticket)) == (400, "invalid_ticket", None)


def test_what_is_no_ticket_costs_no_query(phone: Phone, services: Services) -> None:
    phone.log_in()
    ticket = ticket_of(phone)
    forged = ticket[:-1] + ("A" if ticket[-1] != "A" else "B")
    services.database.engine.dispose()
    for nonsense in (
        "nonsense",
        str(phone.token),
        forged,
        ticket.replace("wxt_", "wxs_"),
        "\u94a5",
    ):
        assert problem(redeem(phone, nonsense)) == (400, "invalid_ticket", None)


def test_a_ticket_is_no_session_token_and_no_api_key(phone: Phone) -> None:
    phone.log_in()
    ticket = ticket_of(phone)
    assert problem(phone.check(ticket)) == (401, "invalid_token", None)
    assert problem(redeem(phone, ticket, key=ticket)) == (401, "invalid_api_key", None)
    assert problem(redeem(phone, ticket, key=str(phone.token))) == (401, "invalid_api_key", None)
    assert redeem(phone, ticket).status_code == 200


@pytest.mark.parametrize(
    "audience", ["https://evil.example.com", SHOP + "/", SHOP + ":443", "", "null", "x" * 300]
)
def test_an_audience_that_is_none_of_ours_gets_no_ticket(
    phone: Phone, services: Services, audience: str
) -> None:
    phone.log_in()
    refused = phone.send("POST", "/tickets", json={"audience": audience}, token=phone.token)
    assert problem(refused) == (400, "invalid_request", None)
    assert refused.json["errors"][0]["field"] == "audience"
    assert stored(services) == 0


def test_without_a_session_there_is_no_ticket(phone: Phone, services: Services) -> None:
    refused = phone.send("POST", "/tickets", json={"audience": SHOP})
    assert problem(refused) == (401, "missing_token", None)
    assert stored(services) == 0


def test_a_ticket_survives_a_rotation_of_the_keys(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    phone = Phone(make_app(ticket_audiences=SHOP), wechat, "alice")
    phone.log_in()
    ticket = ticket_of(phone)
    new = "another-secret-key-made-up-for-tests"
    keys = f"{SECRET_KEY},{new}"
    phone.app = make_app(secret_keys=keys, api_keys=f"shop:{KEY}", ticket_audiences=SHOP)
    assert redeem(phone, ticket).status_code == 200


@ON_BOTH
def test_a_purge_deletes_what_nobody_redeemed(
    phone: Phone, services: Services, clock: SettableClock
) -> None:
    phone.log_in()
    ticket_of(phone)
    assert services.purge.run(timedelta(days=7)).tickets == 0
    clock.advance(minutes=1)
    assert services.purge.run(timedelta(days=7)).tickets == 1
    assert stored(services) == 0


def test_only_its_hash_is_stored(phone: Phone, services: Services) -> None:
    phone.log_in()
    ticket = ticket_of(phone)
    with services.database.statement() as connection:
        row = connection.execute(select(tickets)).one()
    assert ticket not in repr(row)
    assert len(row.ticket_hash) == 32
