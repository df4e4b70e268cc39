"""What happens again and again is one event with a count, not a row each."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import insert, select

from tests.support.app import services_of
from tests.support.databases import ON_BOTH
from tests.support.settings import APPID, SECRET_KEY
from wxsession.services import Services
from wxsession.simulator import SettableClock
from wxsession.storage.database import new_id
from wxsession.storage.tables import audit_events, users
from wxsession.users.client import ClientInfo

pytestmark = ON_BOTH

HERE = ClientInfo("203.0.113.7", "curl/8")


def counted(services: Services) -> list[tuple[Any, ...]]:
    """Return event, reason, address and count of every row, in the order of their ids."""
    c = audit_events.c
    query = select(c.event, c.reason, c.client_address, c.count).order_by(c.id)
    with services.database.statement() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_fifty_at_once_are_one_row(services: Services) -> None:
    def count(_number: int) -> None:
        services.audit.count("login.failed", HERE, reason="too_many_attempts")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(count, range(50)))
    assert counted(services) == [("login.failed", "too_many_attempts", "203.0.113.7", 50)]


def test_what_differs_is_counted_apart(services: Services) -> None:
    count = services.audit.count
    count("login.failed", HERE)
    count("login_limited", HERE)
    count("login.failed", HERE, reason="code_used")
    count("login.failed", HERE, reason="invalid_code")
    count("login.failed", HERE, reason="invalid_code", appid=APPID)
    count("login.failed", HERE, reason="invalid_code", user_id=new_id())
    count("login.failed", HERE, reason="invalid_code", actor="shop")
    count("login.failed", ClientInfo(None, None), reason="invalid_code")
    assert [count for *_, count in counted(services)] == [1] * 8


def test_an_address_that_was_cleared_cannot_be_told_by_the_id_without_the_key(
    make_app: Callable[..., Flask],
) -> None:
    for key in (SECRET_KEY, SECRET_KEY, "another-key-" * 4):
        services_of(make_app(secret_keys=key)).audit.count("login.failed", HERE)
    assert sorted(count for *_, count in counted(services_of(make_app()))) == [1, 2]


def test_an_ipv6_customer_is_one_client(services: Services) -> None:
    for number in range(3):
        client = ClientInfo(f"2001:db8:1:2::{number}", f"agent {number}")
        services.audit.count("login.failed", client, reason="invalid_code")
    assert counted(services) == [("login.failed", "invalid_code", "2001:db8:1:2::/64", 3)]


def test_ten_minutes_are_one_row_and_the_next_ten_another(
    services: Services, clock: SettableClock
) -> None:
    for _ in range(3):  # at 8:30, 8:35 and 8:40
        services.audit.count("login.failed", HERE, reason="invalid_code")
        clock.advance(minutes=5)
    assert [count for *_, count in counted(services)] == [2, 1]


def test_a_row_has_the_id_of_its_time(services: Services, clock: SettableClock) -> None:
    services.audit.count("login.failed", HERE)
    with services.database.statement() as connection:
        id_ = connection.execute(select(audit_events.c.id)).scalar_one()
    assert (id_.version, id_.variant) == (7, UUID(int=0x8000 << 48).variant)
    assert id_.int >> 80 == int(clock().timestamp() * 1000)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_users_events_show_their_counts(
    app: Flask, services: Services, clock: SettableClock, options: list[str]
) -> None:
    user_id = new_id()
    with services.database.statement() as connection:
        connection.execute(insert(users).values(id=user_id, created_at=clock()))
    for _ in range(37):
        services.audit.count("login.failed", HERE, reason="bad_credentials", user_id=user_id)
    shown = app.test_cli_runner().invoke(args=["users", "show", str(user_id), *options]).output
    assert '"count": 37' in shown if options else "login.failed  37     bad_credentials" in shown
