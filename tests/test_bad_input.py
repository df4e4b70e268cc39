"""Bad input gets a clear error and costs nothing."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select
from werkzeug import exceptions

from tests.support.app import services_of
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
