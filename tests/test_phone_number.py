"""Phone numbers: by the button's code or encrypted, kept sealed, shown masked."""

import pytest
from flask import Flask
from sqlalchemy import select

from tests.support.app import services_of
from tests.support.phone import Answer, Phone, problem
from wxsession.simulator import Fault, SettableClock, WeChat
from wxsession.storage.tables import users
from wxsession.users.phone_numbers import PhoneNumber

MASKED = {"phone_number": "138******34", "country_code": "86"}


@pytest.fixture(autouse=True)
def logged_in(phone: Phone, wechat: WeChat) -> None:
    wechat.set_phone_number("alice", "13800001234")
    assert phone.log_in().status_code == 200


def send(phone: Phone, **body: object) -> Answer:
    return phone.send("POST", "/phone_number", json=body, token=phone.token)


def old_way(phone: Phone, wechat: WeChat) -> dict[str, object]:
    got = wechat.phone_number(phone.user)
    return {"encryptedData": got["encryptedData"], "iv": got["iv"]}


def kept(app: Flask) -> PhoneNumber | None:
    services = services_of(app)
    with services.database.statement() as connection:
        row = connection.execute(select(users.c.id, users.c.phone_number_sealed)).one()
    return services.phones.open(row.phone_number_sealed, row.id)


def test_a_code_tells_the_number_masked(phone: Phone, wechat: WeChat, app: Flask) -> None:
    assert send(phone, code=wechat.phone_code("alice")).json == MASKED
    assert kept(app) == PhoneNumber("13800001234", "86")
    assert phone.check().json["user"]["phone_number"] == "138******34"


def test_the_old_way_tells_the_same(phone: Phone, wechat: WeChat, app: Flask) -> None:
    assert send(phone, **old_way(phone, wechat)).json == MASKED
    assert kept(app) == PhoneNumber("13800001234", "86")


def test_a_code_works_once(phone: Phone, wechat: WeChat) -> None:
    code = wechat.phone_code("alice")
    assert send(phone, code=code).status_code == 200
    assert problem(send(phone, code=code)) == (400, "invalid_code", None)


def test_the_code_of_somebody_else_is_refused(phone: Phone, wechat: WeChat, app: Flask) -> None:
    assert problem(send(phone, code=wechat.phone_code("bob")))[1] == "invalid_code"
    assert kept(app) is None


@pytest.mark.parametrize("ending", ["expire_tokens", "revoke_tokens"])
def test_a_dead_access_token_is_replaced_unnoticed(
    phone: Phone, wechat: WeChat, ending: str
) -> None:
    assert send(phone, code=wechat.phone_code("alice")).status_code == 200
    getattr(wechat, ending)()
    assert send(phone, code=wechat.phone_code("alice")).status_code == 200
    assert wechat.token_fetches == 2


@pytest.mark.parametrize("fault", [Fault.CONNECTION_REFUSED, Fault.TIMEOUT_AFTER_EXCHANGE])
def test_without_wechat_nothing_is_written(
    phone: Phone, wechat: WeChat, app: Flask, fault: Fault
) -> None:
    wechat.fail_next(fault, times=2)
    answer = send(phone, code=wechat.phone_code("alice"))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert kept(app) is None


def test_the_whole_result_of_the_button_may_be_sent(phone: Phone, wechat: WeChat) -> None:
    result = {**wechat.phone_number("alice"), "code": wechat.phone_code("alice")}
    assert send(phone, **result).status_code == 200
    assert wechat.phone_exchanges == [result["code"]]


@pytest.mark.parametrize("body", [{}, {"iv": "AAAA"}, {"code": ""}, {"code": "a\0"}])
def test_one_way_is_wanted(phone: Phone, body: dict[str, object]) -> None:
    assert problem(send(phone, **body))[:2] == (400, "invalid_request")


def test_other_data_hold_no_number(phone: Phone, wechat: WeChat) -> None:
    group = wechat.group("alice")
    answer = send(phone, encryptedData=group["encryptedData"], iv=group["iv"])
    assert problem(answer)[:2] == (400, "invalid_request")


def test_a_number_under_the_key_of_the_last_login_is_read(
    phone: Phone, wechat: WeChat, clock: SettableClock
) -> None:
    got = old_way(phone, wechat)
    clock.advance(minutes=6)
    phone.log_in()
    assert send(phone, **got).json == MASKED
