"""Bad input gets a clear error and costs nothing."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select
from werkzeug import exceptions

from tests.support.app import services_of
from tests.support.databases import ON_BOTH
from tests.support.phone import Phone, problem
from wxsession.services import Services
from wxsession.simulator import WeChat
from wxsession.storage.database import metadata
from wxsession.web import problems

JSON = "application/json"

BODIES = {
    "nothing": b"",
    "white space": b" \n",
    "no JSON": b"code=1",
    "half a JSON": b'{"code": "a',
    "null": b"null",
    "a list": b"[]",
    "a string": b'"code"',
    "a number": b"1e400",
    "no code": b"{}",
    "an empty code": b'{"code": ""}',
    "a number as code": b'{"code": 1}',
    "a null as code": b'{"code": null}',
    "a list as code": b'{"code": ["a"]}',
    "a long code": json.dumps({"code": "a" * 129}).encode(),
    "a NUL in the code": b'{"code": "a\\u0000b"}',
    "half a surrogate": b'{"code": "\\ud800"}',
    "bytes that are no UTF-8": b'{"code": "\xff\xfe"}',
    "a misspelt field": b'{"code": "a", "apid": "b"}',
    "a field of another call": b'{"code": "a", "everywhere": true}',
    "a session_key": b'{"code": "a", "session_key": "k"}',
    "a deep nesting": b'{"code": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "a deep nesting that never ends": b"[" * 60_000,
    "an empty appid": b'{"code": "a", "appid": ""}',
    "a number as appid": b'{"code": "a", "appid": 1}',
    "a field twice": b'{"code": "a", "code": "b"}',
    "a field twice, once in other letters": b'{"code": "a", "c\\u006fde": "b"}',
    "a field twice, deep inside": b'{"code": "a", "user_info": {"x": [[{"y": 1, "y": 1}]]}}',
    "UTF-16": '{"code": "a"}'.encode("utf-16"),
}


def rows(services: Services) -> int:
    with services.database.statement() as connection:
        return sum(
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        )


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_login_with_a_bad_body_is_refused_and_writes_nothing(
    phone: Phone, services: Services, wechat: WeChat, body: bytes
) -> None:
    answer = phone.send("POST", "/login", data=body, content_type=JSON)
    assert problem(answer) == (400, "invalid_request", None)
    assert answer.json["errors"]
    assert all(error.keys() == {"field", "message"} for error in answer.json["errors"])
    assert rows(services) == 0
    assert wechat.exchanges == []


def test_every_field_that_is_wrong_is_told_and_no_value_is_repeated(phone: Phone) -> None:
    body = {"code": 4711, "appid": ["canary"], "nickname": "canary"}
    answer = phone.send("POST", "/login", json=body)
    assert {error["field"] for error in answer.json["errors"]} == {"code", "appid", "nickname"}
    assert "canary" not in answer.text
    assert "4711" not in answer.text


def test_a_key_that_stands_twice_is_named(phone: Phone) -> None:
    body = b'{"code": "a", "user_info": {"x": [{"y": 1, "y": "canary"}], "x": 1}, "code": "canary"}'
    answer = phone.send("POST", "/login", data=body, content_type=JSON)
    assert {error["field"] for error in answer.json["errors"]} == {"code", "x", "y"}
    assert {error["message"] for error in answer.json["errors"]} == {"sent more than once"}
    assert "canary" not in answer.text


def test_a_key_may_stand_once_in_each_of_several_objects(phone: Phone) -> None:
    body = {"code": phone.code(), "user_info": {"code": [{"code": 1}, {"code": 2}]}}
    assert phone.send("POST", "/login", json=body).status_code == 200


@pytest.mark.parametrize(
    "body", [b"[]", b"1", b'{"everywhere": 1}', b'{"everywhere": "yes"}', b'{"all": true}', b"{"]
)
def test_a_logout_with_a_bad_body_ends_nothing(phone: Phone, body: bytes) -> None:
    phone.log_in()
    answer = phone.send("POST", "/logout", data=body, content_type=JSON, token=phone.token)
    assert problem(answer) == (400, "invalid_request", None)
    assert phone.check().status_code == 200


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_a_body_that_is_too_large_is_refused(phone: Phone, path: str) -> None:
    phone.log_in()
    body = b'{"code": "' + b"a" * 70_000 + b'"}'
    answer = phone.send("POST", path, data=body, content_type=JSON, token=phone.token)
    assert problem(answer) == (413, "content_too_large", None)
    assert phone.check().status_code == 200


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"],
)
def test_a_body_that_says_it_is_no_json_is_refused(phone: Phone, content_type: str) -> None:
    answer = phone.send("POST", "/login", data=b'{"code": "a"}', content_type=content_type)
    assert problem(answer) == (415, "unsupported_media_type", None)


@pytest.mark.parametrize("content_type", [None, JSON, "application/json; charset=utf-8"])
def test_json_is_taken_with_and_without_its_name(phone: Phone, content_type: str | None) -> None:
    body = json.dumps({"code": phone.code()})
    answer = phone.send("POST", "/login", data=body, content_type=content_type)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (exceptions.ImATeapot(), (400, "invalid_request", None)),
        (exceptions.NotFound(), (404, "not_found", None)),
        (exceptions.GatewayTimeout(), (500, "internal_error", None)),
    ],
)
def test_whatever_werkzeug_refuses_by_itself_is_a_problem(
    app: Flask, refusal: exceptions.HTTPException, told: tuple[int, str, None]
) -> None:
    with app.test_request_context():
        answer = problems.from_http(refusal)
    assert (answer.status_code, json.loads(answer.data)["code"], None) == told
    assert answer.mimetype == "application/problem+json"


def test_a_path_with_a_slash_too_many_is_another_path(phone: Phone) -> None:
    answer = phone.send("DELETE", f"/sessions//{uuid4()}")
    assert problem(answer) == (404, "not_found", None)


@pytest.mark.parametrize("path", ["/", "/login/", "/nothing", "/%00", "/login%2f", "/é"])
def test_a_path_that_is_none_is_not_found_and_nothing_redirects(phone: Phone, path: str) -> None:
    assert problem(phone.send("POST", path)) == (404, "not_found", None)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/login", "POST"),
        ("PUT", "/check_session", "GET"),
        ("GET", "/refresh", "POST"),
        ("GET", "/logout", "POST"),
        ("POST", "/sessions", "GET"),
        ("BREW", "/healthz", "GET"),
    ],
)
def test_another_method_is_told_which_ones_there_are(
    phone: Phone, method: str, path: str, allowed: str
) -> None:
    answer = phone.send(method, path)
    assert problem(answer) == (405, "method_not_allowed", None)
    assert allowed in answer.headers["Allow"]


def test_every_answer_is_not_to_be_stored_and_of_no_other_type(phone: Phone) -> None:
    phone.log_in()
    answers = [
        phone.check(),
        phone.refresh(),
        phone.send("GET", "/sessions", token=phone.token),
        phone.send("GET", "/healthz"),
        phone.send("GET", "/readyz"),
        phone.send("GET", "/openapi.json"),
        phone.send("OPTIONS", "/login"),
        phone.send("OPTIONS", "/weapp/login"),
        phone.send("OPTIONS", "/nothing"),
        phone.send("GET", "/weapp/login"),
        phone.send("HEAD", "/check_session", token=phone.token),
        phone.log_out(),
        phone.check(),
    ]
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}
    assert {answer.headers["X-Content-Type-Options"] for answer in answers} == {"nosniff"}
    assert "text/html" not in {answer.mimetype for answer in answers if answer.data}
    assert not [one for one in answers if "Content-Type" in one.headers and not one.content_length]
    assert not [answer for answer in answers if 300 <= answer.status_code < 400]


@pytest.mark.parametrize("agent", ["", "a" * 2000, "\xff\xfe \x7f", "微信", "a\tb"])
def test_any_user_agent_may_log_in_and_is_cut(make_phone: Callable[..., Phone], agent: str) -> None:
    try:
        agent.encode("latin-1")
    except UnicodeEncodeError:
        agent = agent.encode().decode("latin-1")  # as WSGI hands it on
    phone = make_phone(user_agent=agent)
    phone.log_in()
    assert (phone.sessions()[0]["user_agent"] or "") == agent[:512]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(max_codepoint=0xFF, exclude_characters="\r\n"), max_size=150))
def test_any_authorization_header_gets_an_answer_and_costs_no_sql(app: Flask, text: str) -> None:
    used: list[object] = []
    database = services_of(app).database
    database.connections.release()
    pool = database.engine.pool  # without a connection there is no statement

    def note(connection: object, *_rest: object) -> None:
        used.append(connection)

    event.listen(pool, "checkout", note)
    try:
        for value in (text, f"Bearer {text}", f"Bearer wxs_{text}"):
            answer = app.test_client().get("/check_session", headers={"Authorization": value})
            assert problem(answer)[0] == 401
    finally:
        event.remove(pool, "checkout", note)
    assert used == []


@pytest.mark.parametrize("proxies", [0, 1, 2])
def test_the_clients_address_is_what_our_own_proxies_say(
    make_app: Callable[..., Flask], wechat: WeChat, proxies: int
) -> None:
    phone = Phone(make_app(trusted_proxies=proxies), wechat, "alice", address="10.0.0.1")
    forged_first = {"X-Forwarded-For": "6.6.6.6, 203.0.113.1, 10.0.0.2"}
    answer = phone.send("POST", "/login", json={"code": phone.code()}, headers=forged_first)
    phone.token = answer.json["session_token"]
    seen = phone.sessions()[0]["client_address"]
    assert seen == ["10.0.0.1", "10.0.0.2", "203.0.113.1"][proxies]


# What other back ends, and the pages of a web-view, do wrong.

SHOP = "https://shop.example.com"
CART = "https://cart.example.com"
EVIL = "https://evil.example.com"
READER = "an-api-key-that-is-good-for-events"
SELLER = "an-api-key-that-is-good-for-users"
TILL = "an-api-key-that-introspects-alone"


def everything(services: Services) -> dict[str, list[str]]:
    """Return all rows of all tables."""
    with services.database.statement() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in metadata.sorted_tables
        }


@ON_BOTH
def test_what_back_ends_and_web_views_may_not_do_changes_nothing(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    ours = {
        "api_keys": f"reader:{READER}:events,seller:{SELLER}:users,till:{TILL}",
        "ticket_audiences": f"{SHOP},{CART}",
        "cookie": "on",
        "issuer": SHOP,
    }
    app = make_app(**ours)
    phone = Phone(app, wechat, "alice")
    user = f"/users/{phone.log_in().json['user']['id']}"
    stranger = Phone(
        make_app(**ours, secret_keys="a-secret-key-of-a-server-of-somebody-else"), wechat, "bob"
    )
    stranger.log_in()

    def ticket(phone: Phone, audience: str) -> str:
        answer = phone.send("POST", "/tickets", json={"audience": audience}, token=phone.token)
        return str(answer.json["ticket"])

    own, for_cart, foreign = ticket(phone, SHOP), ticket(phone, CART), ticket(stranger, SHOP)
    good = {"ticket": own, "audience": SHOP}
    no_scope, invalid, no_ticket = "insufficient_scope", "invalid_request", "invalid_ticket"
    wrong: list[tuple[str | None, str, str, Any, str]] = [
        (SELLER, "DELETE", user, None, no_scope),
        (SELLER, "DELETE", f"{user}/sessions", None, no_scope),
        (SELLER, "POST", f"{user}/disable", None, no_scope),
        (SELLER, "POST", "/wechat/events", {"Event": "x"}, no_scope),
        (SELLER, "POST", "/tickets/redeem", good, no_scope),
        (SELLER, "GET", "/users?phone_number=13800138000", None, no_scope),
        (SELLER, "GET", "/events", None, no_scope),
        (TILL, "GET", user, None, no_scope),
        (READER, "GET", "/events?after=nonsense", None, invalid),
        (READER, "GET", f"/events?after={'f' * 13}-{'f' * 32}0", None, invalid),
        (SELLER, "GET", "/users?after=nonsense", None, invalid),
        (phone.token, "POST", "/tickets", {"audience": EVIL}, invalid),
        (TILL, "POST", "/tickets/redeem", {"ticket": own, "audience": EVIL}, no_ticket),
        (TILL, "POST", "/tickets/redeem", {"ticket": for_cart, "audience": SHOP}, no_ticket),
        (TILL, "POST", "/tickets/redeem", {"ticket": foreign, "audience": SHOP}, no_ticket),
        (None, "GET", f"/web-view?ticket={for_cart}&to=/orders", None, no_ticket),
        (None, "GET", f"/web-view?ticket={foreign}&to=/orders", None, no_ticket),
        (None, "GET", f"/web-view?ticket={own}&to=//evil", None, invalid),
        (None, "GET", f"/web-view?ticket={own}&to={EVIL}", None, invalid),
    ]
    before = everything(services_of(app))
    for key, method, path, body, code in wrong:
        refused = phone.send(method, path, token=key, json=body)
        assert problem(refused)[1] == code, (method, path)
        assert {"Location", "Set-Cookie"}.isdisjoint(refused.headers.keys())
        assert everything(services_of(app)) == before, (method, path)
    assert phone.send("POST", "/tickets/redeem", token=TILL, json=good).status_code == 200
