"""A PC shows a code, a phone that is logged in approves it, and the PC has a session of its own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.support.databases import ON_BOTH
from tests.support.phone import Answer, Phone, problem
from wxsession.services import Services
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.tables import device_codes, sessions

BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/150.0"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return a server that lets a phone log other devices in."""
    return make_app(device_login="on")


@pytest.fixture
def pc(app: Flask, wechat: WeChat) -> Phone:
    """Return a PC, which has no WeChat."""
    return Phone(app, wechat, "nobody", address="198.51.100.9", user_agent=BROWSER)


def begin(pc: Phone) -> tuple[str, str]:
    """Return the code that the PC polls with, and the one that it shows."""
    answer = pc.send("POST", "/device_logins")
    assert answer.status_code == 200, answer.text
    assert (answer.json["expires_in"], answer.json["interval"]) == (300, 2)
    return answer.json["device_code"], answer.json["user_code"]


def poll(pc: Phone, device_code: str) -> Answer:
    return pc.send("POST", "/device_logins/token", json={"device_code": device_code})


def show(phone: Phone, user_code: str) -> Answer:
    body = {"user_code": user_code}
    return phone.send("POST", "/device_logins/show", json=body, token=phone.token)


def decide(phone: Phone, user_code: str, *, approve: bool = True) -> Answer:
    body = {"user_code": user_code, "approve": approve}
    return phone.send("POST", "/device_logins/decide", json=body, token=phone.token)


@ON_BOTH
def test_the_phone_sees_who_asks_and_lets_it_in(
    phone: Phone, pc: Phone, clock: SettableClock
) -> None:
    user = phone.log_in().json["user"]["id"]
    clock.advance(hours=1)
    device_code, user_code = begin(pc)
    clock.advance(seconds=10)
    assert problem(poll(pc, device_code)) == (400, "authorization_pending", None)
    asking = show(phone, user_code)
    assert asking.json == {
        "client_address": "198.51.100.9",
        "user_agent": BROWSER,
        "expires_in": 290,
    }
    assert decide(phone, user_code).status_code == 204
    grant = poll(pc, device_code)
    assert grant.json["user"]["id"] == user
    pc.token = grant.json["session_token"]
    ours, theirs = sorted(phone.sessions(), key=lambda one: one["client_address"], reverse=True)
    assert (theirs["client_address"], theirs["user_agent"]) == ("198.51.100.9", BROWSER)
    assert theirs["auth_time"] == ours["auth_time"]  # nobody has logged in anew
    phone.log_out()
    assert pc.check().status_code == 200


@ON_BOTH
def test_of_fifty_polls_at_once_one_gets_in(phone: Phone, pc: Phone) -> None:
    phone.log_in()
    device_code, user_code = begin(pc)
    decide(phone, user_code)
    with ThreadPoolExecutor(50) as pool:
        told = list(pool.map(lambda _: poll(pc, device_code), range(50)))
    assert sorted(answer.status_code for answer in told) == [200] + [400] * 49
    assert problem(poll(pc, device_code)) == (400, "expired_token", None)
    assert len(phone.sessions()) == 2


def test_the_phone_turns_it_away(phone: Phone, pc: Phone) -> None:
    phone.log_in()
    device_code, user_code = begin(pc)
    assert decide(phone, user_code, approve=False).status_code == 204
    for _ in range(2):
        assert problem(poll(pc, device_code)) == (400, "access_denied", None)
    assert problem(decide(phone, user_code)) == (400, "expired_token", None)


@ON_BOTH
def test_a_pc_that_does_not_wait_is_told_to(pc: Phone, clock: SettableClock) -> None:
    device_code, _ = begin(pc)
    assert problem(poll(pc, device_code)) == (400, "authorization_pending", None)
    clock.advance(seconds=1)
    refused = poll(pc, device_code)
    assert problem(refused) == (400, "slow_down", None)
    assert (refused.headers["Retry-After"], refused.json["retryable"]) == ("2", True)
    clock.advance(seconds=1)
    assert problem(poll(pc, device_code)) == (400, "authorization_pending", None)


@ON_BOTH
def test_a_code_is_over_after_five_minutes(
    phone: Phone, pc: Phone, clock: SettableClock, services: Services
) -> None:
    phone.log_in()
    (approved, shown), (waiting, other) = begin(pc), begin(pc)
    decide(phone, shown)
    clock.advance(minutes=5)
    for device_code in (approved, waiting, "nonsense"):
        assert problem(poll(pc, device_code)) == (400, "expired_token", None)
    for refused in (show(phone, other), decide(phone, other)):
        assert problem(refused) == (400, "expired_token", None)
    assert services.purge.run(timedelta(days=7)).device_codes == 2
    with services.database.statement() as connection:
        left = select(func.count()).select_from(device_codes)
        assert connection.execute(left).scalar_one() == 0


def test_a_code_may_be_typed_in_any_way(phone: Phone, pc: Phone) -> None:
    phone.log_in()
    _, user_code = begin(pc)
    assert len(user_code) == 14
    for typed in (user_code.lower(), user_code.replace("-", ""), f" {user_code.replace('-', ' ')}"):
        assert show(phone, typed).status_code == 200
    assert problem(show(phone, "")) == (400, "invalid_request", None)
    assert problem(show(phone, "1234")) == (400, "expired_token", None)


def test_what_the_pc_shows_lets_nobody_in(phone: Phone, pc: Phone) -> None:
    phone.log_in()
    device_code, user_code = begin(pc)
    assert problem(poll(pc, user_code)) == (400, "expired_token", None)
    assert problem(decide(phone, device_code)) == (400, "expired_token", None)
    for call in (show, decide):
        assert problem(call(pc, user_code)) == (401, "missing_token", None)


def test_whoever_has_logged_out_since_lets_nobody_in(phone: Phone, pc: Phone) -> None:
    phone.log_in()
    device_code, user_code = begin(pc)
    decide(phone, user_code)
    phone.log_out()
    assert problem(poll(pc, device_code)) == (400, "access_denied", None)


@ON_BOTH
def test_the_pc_counts_for_the_cap(
    make_app: Callable[..., Flask], wechat: WeChat, clock: SettableClock
) -> None:
    app = make_app(device_login="on", max_sessions=1)
    phone, pc = Phone(app, wechat, "alice"), Phone(app, wechat, "nobody")
    phone.log_in()
    device_code, user_code = begin(pc)
    decide(phone, user_code)
    clock.advance(seconds=1)
    assert poll(pc, device_code).status_code == 200
    assert problem(phone.check()) == (401, "session_ended", "evicted")


def test_one_address_cannot_ask_for_any_number_of_codes(pc: Phone) -> None:
    for _ in range(300):
        begin(pc)
    refused = pc.send("POST", "/device_logins")
    assert problem(refused) == (429, "too_many_attempts", "devices")
    pc.address = "198.51.100.10"
    begin(pc)


def test_without_the_setting_there_is_nothing_to_ask_for(
    make_app: Callable[..., Flask],
) -> None:
    client = make_app().test_client()
    assert client.post("/device_logins").status_code == 404


@ON_BOTH
def test_nothing_is_left_of_a_pc_that_somebody_let_in_who_is_gone(
    phone: Phone, pc: Phone, services: Services
) -> None:
    phone.log_in()
    device_code, user_code = begin(pc)
    decide(phone, user_code)
    assert phone.send("DELETE", "/user", token=phone.token).status_code == 204
    with services.database.statement() as connection:
        assert connection.execute(select(device_codes)).all() == []
    assert problem(poll(pc, device_code)) == (400, "expired_token", None)


@ON_BOTH
def test_a_pc_gets_in_before_the_user_is_gone_or_not_at_all(
    phone: Phone, pc: Phone, services: Services
) -> None:
    for _ in range(20):
        phone.log_in()
        device_code, user_code = begin(pc)
        decide(phone, user_code)
        with ThreadPoolExecutor(2) as pool:
            polled = pool.submit(poll, pc, device_code)
            deleted = pool.submit(phone.send, "DELETE", "/user", token=phone.token)
        assert deleted.result().status_code == 204
        answer = polled.result()
        assert answer.status_code in {200, 400, 403}, answer.text
        with services.database.statement() as connection:
            addresses = connection.execute(select(sessions.c.client_address)).scalars().all()
        assert set(addresses) == {None}
