"""The wires of clients that were there before this server."""

import json
import logging
from collections.abc import Callable, Iterator
from itertools import cycle

import pytest
import requests
from flask import Flask, request
from sqlalchemy import text

from tests.support.app import services_of
from tests.support.databases import ON_BOTH
from tests.support.phone import Answer, Phone, problem
from tests.support.settings import APPID, OTHER_APPID, environment, settings_for
from tests.support.wires import API_KEY, WIRES, interface, mina_auth
from wxsession import DIALECTS, Settings, SettingsError, WxSession, current_session, errors
from wxsession import session_required as guarded
from wxsession.errors import TokenError, WxSessionError
from wxsession.simulator import Fault, SettableClock, WeChat, wechat_transport
from wxsession.web.bodies import LONGEST_BODY
from wxsession.web.dialects import registry
from wxsession.web.dialects.base import Dialect
from wxsession.web.dialects.wafer import WAFER
from wxsession.web.problems import PROBLEM_TYPES

MAGIC = "F2C224D4-2BCE-4C64-AF9F-A6D872000D1A"
DEEP = b'{"code":' + b"[" * 20_000

MakeHost = Callable[..., Flask]


OF_CLIENTS = [name for name in WIRES if name != "wafer-session-server"]
WITH_GUARD = [name for name, wire in WIRES.items() if wire.header]


@pytest.fixture
def make_host(database_url: str, clock: SettableClock, wechat: WeChat) -> Iterator[MakeHost]:
    """Return a function that makes a business application that speaks these dialects."""
    made: list[Flask] = []

    def make(dialects: str = "all", **changes: object) -> Flask:
        host = Flask("business")
        made.append(host)
        api_keys = f"back-end:{API_KEY}"
        host.config.from_mapping(
            environment(
                database_url,
                **{"dialects": dialects, "api_keys": api_keys, "url_prefix": "/", **changes},
            )
        )
        WxSession(host, clock=clock, http=wechat_transport(wechat))

        @host.route("/orders", methods=["GET", "POST"])
        @guarded
        def orders() -> dict[str, object]:
            sent = request.get_json(silent=True)
            return {"orders_of": str(current_session.user_id), "sent": sent}

        @host.get("/broken")
        @guarded
        def broken() -> str:
            raise LookupError

        return host

    yield make
    for host in made:
        services_of(host).database.close()


@pytest.fixture
def phone(make_host: MakeHost, wechat: WeChat) -> Phone:
    """Return Alice's phone, with an application that speaks every dialect."""
    return Phone(make_host(), wechat, "alice")


def with_token(phone: Phone, name: str) -> dict[str, str]:
    """Log in, and return the headers of later requests."""
    wire = WIRES[name]
    answer = wire.log_in(phone, phone.code())
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    phone.token = wire.token(answer.json)
    assert phone.token is not None
    assert wire.header is not None
    return {wire.header: phone.token}


# -- every dialect ----------------------------------------------------------------------------


def test_every_dialect_is_among_those_tested() -> None:
    assert WIRES.keys() | {"code-header"} == set(DIALECTS)


@pytest.mark.parametrize("name", WITH_GUARD)
def test_a_client_logs_in_is_known_and_is_logged_out(phone: Phone, name: str) -> None:
    headers = with_token(phone, name)
    assert phone.send("GET", "/orders", headers=headers).status_code == 200
    assert phone.log_out().status_code == 204
    assert phone.send("GET", "/orders", headers=headers).status_code == 401


@pytest.mark.parametrize("name", [name for name, wire in WIRES.items() if wire.field])
def test_the_token_may_be_in_the_body_which_the_view_reads_too(phone: Phone, name: str) -> None:
    with_token(phone, name)
    body = {WIRES[name].field: phone.token, "what": "tea"}
    answer = phone.send("POST", "/orders", json=body)
    assert answer.status_code == 200
    assert answer.json["sent"] == body
    assert phone.send("GET", "/orders", json=body).status_code == 401  # no body on a GET


@pytest.mark.parametrize(
    "body",
    [DEEP, b"[]", b"null", b"{", b"\xff", b'{"session_id": 1}', b'{"session_id": ""}'],
    ids=["deep", "list", "null", "cut", "bytes", "number", "empty"],
)
def test_a_body_without_a_token_is_none(phone: Phone, body: bytes) -> None:
    answer = phone.send("POST", "/orders", data=body, content_type="application/json")
    assert problem(answer) == (401, "missing_token", None)


def test_a_token_that_stands_twice_in_the_body_is_refused(phone: Phone) -> None:
    with_token(phone, "fetch-code")
    body = f'{{"session_id": "another", "session_id": "{phone.token}", "what": 1, "what": 2}}'
    answer = phone.send("POST", "/orders", data=body, content_type="application/json")
    assert problem(answer) == (400, "invalid_request", None)
    assert [error["field"] for error in answer.json["errors"]] == ["session_id"]


def test_a_token_is_not_looked_for_in_megabytes(phone: Phone) -> None:
    with_token(phone, "fetch-code")
    body = {"session_id": phone.token, "much": "x" * 1024 * 1024}
    assert phone.send("POST", "/orders", json=body).status_code == 401
    headers = {"session-id": str(phone.token)}
    assert phone.send("POST", "/orders", json=body, headers=headers).status_code == 200


@ON_BOTH
@pytest.mark.parametrize("name", WIRES)
def test_logins_in_any_dialect_are_of_one_user(phone: Phone, name: str) -> None:
    first = phone.log_in().json["user"]["id"]
    phone.token = WIRES[name].token(WIRES[name].log_in(phone, phone.code()).json)
    assert phone.send("GET", "/user", token=phone.token).json["id"] == first
    assert len(phone.sessions()) == 2


@pytest.mark.parametrize("name", OF_CLIENTS)
def test_no_client_is_told_an_openid(phone: Phone, name: str, wechat: WeChat) -> None:
    assert wechat.openid("alice") not in WIRES[name].log_in(phone, phone.code()).text


@pytest.mark.parametrize("name", OF_CLIENTS)
def test_the_app_is_the_one_that_wechat_names(phone: Phone, name: str) -> None:
    phone.appid = OTHER_APPID
    phone.referer = f"https://servicewechat.com/{OTHER_APPID}/0/page-frame.html"
    phone.token = WIRES[name].token(WIRES[name].log_in(phone, phone.code()).json)
    assert phone.sessions()[0]["appid"] == OTHER_APPID


FAULTS: list[int | Fault] = [40029, 40163, 40226, 45011, -1, 40125, *Fault]


# What a fault becomes is told in `test_wechat_client.py`, and how each dialect words it below:
# here every fault meets one of the dialects, and every dialect several faults.
@pytest.mark.parametrize(("fault", "name"), [*zip(FAULTS, cycle(WIRES), strict=False)], ids=str)
def test_what_goes_wrong_at_wechat_is_told_in_our_own_words(
    phone: Phone, name: str, fault: int | Fault, wechat: WeChat
) -> None:
    wechat.fail_next(fault, times=3 if fault in _RETRIED else 1)
    answer = WIRES[name].log_in(phone, phone.code())
    if WIRES[name].token(answer.json) is None:  # some faults are none to a careful reader
        assert all(word not in answer.text for word in ("rid", "errmsg", "errcode", "Exception"))
    elif fault in {40029, 40163, 40226, 45011, -1, 40125}:
        pytest.fail(f"logged in although WeChat said {fault}")


_RETRIED = {-1, Fault.CONNECTION_REFUSED}


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("code", ["", "x" * 129], ids=["empty", "long"])
def test_a_code_that_is_none_costs_nothing(
    phone: Phone, name: str, code: str, wechat: WeChat
) -> None:
    answer = WIRES[name].log_in(phone, code)
    assert WIRES[name].token(answer.json) is None
    assert answer.status_code == (200 if name == "wafer-session-server" else 400)
    assert wechat.exchanges == []


BODIES = {
    "nothing": b"",
    "cut": b"{",
    "list": b"[]",
    "null": b"null",
    "bytes": b"\xff",
    "deep": DEEP,
    "number": b'{"code": 1, "session_id": 1, "interface": 1}',
    "twice": b'{"code": "a", "session_id": "a", "interface": {"interfaceName": "a", "para": {}},'
    b' "more": [{"a": 1, "a": 2}]}',
}


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/onLogin", {"code": "invalid_request"}),
        ("/api/fetch_code", {"status": "FAILED", "error": "invalid_request"}),
        ("/api/login", {"status": "FAILED", "error": "invalid_request"}),
        ("/mina_auth", {"returnCode": 1007, "componentName": "MA"}),
        ("/mina_auth/", {"returnCode": 1007, "componentName": "MA"}),
    ],
)
def test_a_malformed_body_is_refused_in_the_wire_of_its_path(
    phone: Phone, path: str, refused: dict[str, object], wechat: WeChat
) -> None:
    kind = "application/json"
    for name, body in BODIES.items():
        answer = phone.send("POST", path, data=body, content_type=kind, token=API_KEY)
        assert refused.items() <= answer.json.items(), name
        assert answer.status_code == (200 if "mina_auth" in path else 400)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert wechat.exchanges == []


@pytest.mark.parametrize(
    ("path", "status", "refused"),
    [
        ("/onLogin", 413, {"code": "content_too_large"}),
        ("/api/fetch_code", 413, {"status": "FAILED", "error": "content_too_large"}),
        ("/api/login", 413, {"status": "FAILED", "error": "content_too_large"}),
        ("/mina_auth/", 200, {"returnCode": 1007, "returnMessage": "The body is too large."}),
    ],
)
def test_a_body_that_is_too_large_is_refused_in_the_wire_of_its_path(
    phone: Phone, path: str, status: int, refused: dict[str, object]
) -> None:
    body, kind = b"x" * (LONGEST_BODY + 1), "application/json"
    answer = phone.send("POST", path, data=body, content_type=kind, token=API_KEY)
    assert answer.status_code == status
    assert refused.items() <= answer.json.items()


# -- every error, in every dialect ------------------------------------------------------------

SECRET = "something that only an exception says"
FACTS: dict[type[WxSessionError], Callable[[], WxSessionError]] = {
    errors.InvalidRequest: lambda: errors.InvalidRequest([{"field": "code", "message": "is bad"}]),
    errors.ContentTooLarge: lambda: errors.ContentTooLarge([{"field": "a", "message": "is long"}]),
    errors.InsufficientScope: lambda: errors.InsufficientScope("users"),
    errors.SessionExpired: lambda: errors.SessionExpired("idle"),
    errors.SessionEnded: lambda: errors.SessionEnded("logout"),
    errors.TooManyAttempts: lambda: errors.TooManyAttempts(
        "passwords", retry_after=7, limit=10, window=900
    ),
    errors.AuthorizationPending: lambda: errors.AuthorizationPending(retry_after=5),
    errors.SlowDown: lambda: errors.SlowDown(retry_after=5),
    errors.PushRefused: lambda: errors.PushRefused("signature"),
    errors.WeChatRateLimited: lambda: errors.WeChatRateLimited(retry_after=7),
}


def every_error(kind: type[WxSessionError] = WxSessionError) -> Iterator[WxSessionError]:
    """Return one of each error of ours that HTTP has a word for."""
    if vars(kind).get("code") in PROBLEM_TYPES:
        error = FACTS.get(kind, kind)()
        error.args = (SECRET,)
        yield error
    for child in kind.__subclasses__():
        yield from every_error(child)


@pytest.mark.parametrize(
    "dialect", registry.every(settings_for("sqlite:///a.db")), ids=lambda dialect: dialect.name
)
def test_every_error_is_worded_in_every_dialect(dialect: Dialect) -> None:
    told = list(every_error())
    of_http = {"method_not_allowed", "unsupported_media_type"}
    assert {error.code for error in told} == PROBLEM_TYPES.keys() - of_http
    for error in told:
        answer = dialect.refusal(error)
        body = json.loads(answer.get_data())
        assert isinstance(body, dict)
        assert SECRET not in answer.get_data(as_text=True)
        if dialect.name in WIRES:
            assert WIRES[dialect.name].token(body) is None
        is_over = isinstance(error, TokenError)
        if dialect.name == "wafer-session-server":
            statuses = {errors.InvalidApiKey: 401, errors.InsufficientScope: 403}
            assert answer.status_code == statuses.get(type(error), 200)
            assert (body["returnCode"] in {60011, 60012}) == is_over
            continue
        assert answer.status_code == PROBLEM_TYPES[error.code].status
        assert answer.headers.get("Retry-After") == (
            str(error.retry_after) if error.retry_after else None
        )
        if dialect.name == "wafer":
            assert (body["error"] == "ERR_INVALID_SESSION") == is_over
            assert (body["code"] == -1) == (MAGIC in body)
        if dialect.name == "fetch-code":
            assert body == {"status": "FAILED", "error": error.code}


# -- the guard --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_GUARD)
@pytest.mark.parametrize("way", ["logout", "idle", "malformed", "unknown", "superseded"])
def test_a_session_that_is_over_is_told_in_the_wire_that_asked(
    make_host: MakeHost, wechat: WeChat, clock: SettableClock, name: str, way: str
) -> None:
    phone = Phone(make_host(name), wechat, "alice")
    headers = with_token(phone, name)
    if way == "logout":
        phone.log_out()
    elif way == "idle":
        clock.advance(days=8)
    elif way == "superseded":
        phone.refresh()
        phone.refresh()
    else:
        token = phone.token
        assert token is not None
        headers = dict.fromkeys(headers, "x" if way == "malformed" else token[:-1] + "_")
    answer = phone.send("GET", "/orders", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if name == "wafer":
        assert (answer.json["code"], answer.json["error"]) == (-1, "ERR_INVALID_SESSION")
        assert answer.json[MAGIC]
    elif name == "fetch-code":
        assert answer.json["status"] == "FAILED"
    else:
        assert problem(answer)[0] == 401


def test_our_own_token_goes_first(phone: Phone) -> None:
    wafer = with_token(phone, "wafer")
    mine = {"Authorization": f"Bearer {phone.token}"}
    phone.log_out()
    assert problem(phone.send("GET", "/orders", headers={**wafer, **mine}))[1] == "session_ended"
    basic = {"Authorization": "Basic YTpi"}  # the application's own, and no token of ours
    phone.log_in()
    again = {"X-WX-Skey": str(phone.token), **basic}
    assert phone.send("GET", "/orders", headers=again).status_code == 200


@pytest.mark.parametrize(("dialects", "is_wafer"), [("wafer", True), ("wafer,onlogin", True)])
def test_who_has_no_mark_is_taken_for_the_client_that_is_named_first(
    make_host: MakeHost, wechat: WeChat, dialects: str, *, is_wafer: bool
) -> None:
    phone = Phone(make_host(dialects), wechat, "alice")
    assert (phone.send("GET", "/orders").json["code"] == -1) is is_wafer


@pytest.mark.parametrize("dialects", ["all", "none", "onlogin,wafer", ""])
def test_who_has_no_mark_is_told_in_our_own_words_else(
    make_host: MakeHost, wechat: WeChat, dialects: str
) -> None:
    phone = Phone(make_host(dialects), wechat, "alice")
    assert problem(phone.send("GET", "/orders")) == (401, "missing_token", None)


def test_a_dialect_that_is_not_served_is_not_heard(make_host: MakeHost, wechat: WeChat) -> None:
    phone = Phone(make_host("onlogin"), wechat, "alice")
    phone.log_in()
    headers = {"X-WX-Skey": str(phone.token)}
    assert problem(phone.send("GET", "/orders", headers=headers))[1] == "missing_token"
    assert phone.send("GET", "/weapp/login").status_code == 404


# -- code-header ------------------------------------------------------------------------------


def test_a_request_with_a_code_is_logged_in_on_the_spot(phone: Phone, wechat: WeChat) -> None:
    first = phone.send("GET", "/orders", headers={"mycode": phone.code(), "token": ""})
    assert first.status_code == 200
    assert first.headers["Cache-Control"] == "no-store"
    token = first.headers["token"]
    second = phone.send("GET", "/orders", headers={"mycode": phone.code(), "token": token})
    assert second.json == first.json
    assert "token" not in second.headers
    assert len(wechat.exchanges) == 1  # a live token spends no code


def test_a_dead_token_is_replaced_by_its_code(phone: Phone, clock: SettableClock) -> None:
    first = phone.send("GET", "/orders", headers={"mycode": phone.code()})
    clock.advance(days=8)
    headers = {"mycode": phone.code(), "token": first.headers["token"]}
    again = phone.send("GET", "/orders", headers=headers)
    assert again.status_code == 200
    assert again.headers["token"] not in {"", first.headers["token"]}
    alone = phone.send("GET", "/orders", headers={"token": first.headers["token"]})
    assert problem(alone) == (401, "session_expired", "idle")


def test_the_new_token_is_not_lost_when_the_view_breaks(phone: Phone) -> None:
    answer = phone.send("GET", "/broken", headers={"mycode": phone.code()})
    assert answer.status_code == 500
    headers = {"token": answer.headers["token"]}
    assert phone.send("GET", "/orders", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("code", "refusal", "asked"),
    [("x" * 129, "invalid_request", 0), ("nobody-got-this-code", "invalid_code", 1)],
)
def test_a_code_that_is_refused_lets_nobody_in(
    phone: Phone, wechat: WeChat, code: str, refusal: str, asked: int
) -> None:
    answer = phone.send("GET", "/orders", headers={"mycode": code})
    assert problem(answer)[:2] == (400, refusal)
    assert "token" not in answer.headers
    assert len(wechat.exchanges) == asked


def test_the_headers_may_have_other_names(make_host: MakeHost, wechat: WeChat) -> None:
    host = make_host("code-header", code_header="X-Code", token_header="X-Token")
    phone = Phone(host, wechat, "alice")
    assert phone.send("GET", "/orders", headers={"mycode": phone.code()}).status_code == 401
    answer = phone.send("GET", "/orders", headers={"X-Code": phone.code()})
    headers = {"X-Token": answer.headers["X-Token"]}
    assert phone.send("GET", "/orders", headers=headers).status_code == 200


# -- wafer ------------------------------------------------------------------------------------


def wafer_login(phone: Phone, **headers: object) -> Answer:
    named = {f"X-WX-{name.replace('_', '-')}": str(value) for name, value in headers.items()}
    return phone.send("GET", "/weapp/login", headers={"X-WX-Code": phone.code(), **named})


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_one_login_satisfies_every_wafer_client(phone: Phone, method: str) -> None:
    answer = phone.send(method, "/weapp/login", headers={"X-WX-Code": phone.code()})
    body = answer.json
    assert type(body["code"]) is int
    assert body["data"]["userinfo"] == {}
    assert body["data"]["skey"] == body["session"]["skey"]
    assert body[MAGIC]
    headers = {"X-WX-Skey": body["data"]["skey"], "X-WX-Id": body["session"]["id"]}
    assert phone.send("GET", "/weapp/user", headers=headers).json == {"code": 0, "data": {}}


def test_a_login_with_data_gives_the_whole_profile(phone: Phone, wechat: WeChat) -> None:
    wechat.set_profile("alice", nickName="爱丽丝", city="广州")
    code = phone.code()
    info = wechat.user_info("alice")
    headers = {
        "X-WX-Code": code,
        "X-WX-Encrypted-Data": str(info["encryptedData"]),
        "X-WX-IV": str(info["iv"]),
    }
    answer = phone.send("GET", "/weapp/login", headers=headers)
    userinfo = answer.json["data"]["userinfo"]
    assert (userinfo["nickName"], userinfo["city"]) == ("爱丽丝", "广州")
    later = {"X-WX-Skey": answer.json["data"]["skey"]}
    shown = phone.send("GET", "/weapp/user", headers=later).json["data"]
    assert shown["nickName"] == "爱丽丝"
    assert wechat.openid("alice") not in answer.text


def test_data_of_2016_have_the_session_key_as_iv(phone: Phone, wechat: WeChat) -> None:
    wechat.set_profile("alice", nickName="Alice")
    code = phone.code()
    data = str(wechat.user_info("alice", legacy=True)["encryptData"])
    headers = {"X-WX-Code": code, "X-WX-Encrypt-Data": data}
    answer = phone.send("GET", "/weapp/login", headers=headers)
    assert answer.json["data"]["userinfo"]["nickName"] == "Alice"


def test_no_phone_number_comes_along_with_a_profile(phone: Phone, wechat: WeChat) -> None:
    wechat.set_phone_number("alice", "13800000001")
    code = phone.code()
    data = wechat.phone_number("alice")
    headers = {
        "X-WX-Code": code,
        "X-WX-Encrypted-Data": str(data["encryptedData"]),
        "X-WX-IV": str(data["iv"]),
    }
    answer = phone.send("GET", "/weapp/login", headers=headers)
    assert answer.json["code"] == 0
    assert "13800000001" not in answer.text
    para = {"code": phone.code(), "encrypt_data": data["encryptedData"], "iv": data["iv"]}
    assert "13800000001" not in mina_auth(phone, "qcloud.cam.id_skey", **para).text


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"Code": ""}, "ERR_HEADER_MISSED"),
        ({"Code": "undefined"}, "ERR_HEADER_MISSED"),
        ({"Code": "x" * 129}, "ERR_REQUEST_PARAM"),
        ({"Encrypted_Data": "no base64", "IV": "A" * 22 + "=="}, "ERR_REQUEST_PARAM"),
        ({"Encrypted_Data": "A" * 22 + "=="}, "ERR_REQUEST_PARAM"),
        ({"IV": "A" * 22 + "=="}, "ERR_REQUEST_PARAM"),
        ({"Encrypt_Data": "AAAA"}, "ERR_REQUEST_PARAM"),
        ({"Encrypted_Data": "\xff", "IV": "A" * 22 + "=="}, "ERR_REQUEST_PARAM"),
    ],
)
def test_malformed_headers_are_told_and_cost_no_code(
    phone: Phone, headers: dict[str, str], error: str, wechat: WeChat
) -> None:
    answer = wafer_login(phone, **headers)
    assert (answer.status_code, answer.json["code"], answer.json["error"]) == (400, -1, error)
    assert wechat.exchanges == []


def test_data_that_nobody_encrypted_are_no_login(phone: Phone) -> None:
    answer = wafer_login(phone, Encrypted_Data="A" * 22 + "==", IV="A" * 22 + "==")
    assert (answer.json["code"], answer.json["error"]) == (-1, "ERR_IN_DECRYPT_DATA")


def test_a_code_that_wechat_refuses_is_told_as_ever(phone: Phone, wechat: WeChat) -> None:
    wechat.fail_next(40029)
    answer = wafer_login(phone)
    assert (answer.json["code"], answer.json["error"]) == (-1, "ERR_GET_SESSION_KEY")


def test_an_overloaded_server_costs_no_wafer_client_its_session() -> None:
    body = json.loads(WAFER.refusal(errors.Overloaded()).get_data())
    assert body["code"] not in {0, -1}
    assert MAGIC not in body


def test_a_wafer_client_without_a_session_is_asked_to_log_in(phone: Phone) -> None:
    answer = phone.send("GET", "/weapp/user")
    assert (answer.status_code, answer.json["error"]) == (401, "ERR_INVALID_SESSION")


def test_what_nobody_foresaw_costs_no_wafer_client_its_session(phone: Phone) -> None:
    headers = with_token(phone, "wafer")
    services = services_of(phone.app)
    with services.database.statement() as connection:
        connection.execute(text("ALTER TABLE wxsession_sessions RENAME TO elsewhere"))
    answer = phone.send("GET", "/weapp/user", headers=headers)
    assert answer.json["code"] == 1
    assert answer.json["error"] == "not_ready"
    assert MAGIC not in answer.json


# -- the others -------------------------------------------------------------------------------


def test_a_book_login_binds_the_account(phone: Phone) -> None:
    account = {"username": "carol", "password": "one long password"}
    user = phone.send("POST", "/register", json=account).json["user"]["id"]
    first = phone.send("GET", "/login", query_string={"code": phone.code(), **account})
    assert list(first.json) == ["sessionId"]
    unbound = {"code": phone.code(), "username": "", "password": "undefined"}
    for query in ({"code": phone.code()}, unbound):
        answer = phone.send("GET", "/login", query_string=query)
        headers = {"session-id": answer.json["sessionId"]}
        assert phone.send("GET", "/orders", headers=headers).json["orders_of"] == user


def test_a_book_login_with_half_or_wrong_credentials_costs_no_code(
    phone: Phone, wechat: WeChat
) -> None:
    half = {"code": phone.code(), "username": "carol"}
    assert problem(phone.send("GET", "/login", query_string=half))[:2] == (400, "invalid_request")
    wrong = {**half, "password": "one long password"}
    assert problem(phone.send("GET", "/login", query_string=wrong))[:2] == (401, "bad_credentials")
    assert wechat.exchanges == []


def second_step(phone: Phone, data: object) -> Answer:
    body = {"data": data, "session_id": phone.token}
    return phone.send("POST", "/api/login", json=body)


@pytest.fixture
def fetched(phone: Phone) -> Phone:
    """Return Alice's phone after the first of the two steps."""
    with_token(phone, "fetch-code")
    return phone


def test_the_second_step_saves_the_profile(fetched: Phone, wechat: WeChat) -> None:
    wechat.set_profile("alice", nickName="Alice")
    assert second_step(fetched, wechat.user_info("alice")).json == {"status": "OK"}
    assert fetched.send("GET", "/user", token=fetched.token).json["nickname"] == "Alice"


def test_the_second_step_may_have_its_token_in_the_header(fetched: Phone, wechat: WeChat) -> None:
    headers = {"session-id": str(fetched.token)}
    body = {"data": wechat.user_info("alice")}
    answer = fetched.send("POST", "/api/login", json=body, headers=headers)
    assert answer.json == {"status": "OK"}


def test_an_anonymous_profile_is_no_nickname(fetched: Phone, wechat: WeChat) -> None:
    assert second_step(fetched, wechat.user_info("alice")).json == {"status": "OK"}
    assert fetched.send("GET", "/user", token=fetched.token).json["nickname"] is None


@pytest.mark.parametrize("data", [None, {}, {"errMsg": "getUserInfo:fail auth deny"}])
def test_a_user_who_refuses_keeps_the_session(fetched: Phone, data: object) -> None:
    assert second_step(fetched, data).json == {"status": "OK"}
    assert fetched.check().status_code == 200


def test_forged_data_fail_and_cost_no_session(fetched: Phone, wechat: WeChat) -> None:
    info = {**wechat.user_info("alice"), "rawData": "{}"}
    answer = second_step(fetched, info)
    assert answer.json == {"status": "FAILED", "error": "session_key_stale"}
    assert fetched.check().status_code == 200


def test_the_second_step_without_the_first_fails(phone: Phone) -> None:
    phone.token = None
    assert second_step(phone, {}).json == {"status": "FAILED", "error": "missing_token"}


def test_the_session_server_knows_its_users(phone: Phone, wechat: WeChat) -> None:
    wechat.set_profile("alice", nickName="Alice")
    wechat.bind_open_platform(APPID)
    code = phone.code()
    info = wechat.user_info("alice")
    para = {"code": code, "encrypt_data": info["encryptedData"], "iv": info["iv"]}
    new = mina_auth(phone, "qcloud.cam.id_skey", **para).json
    assert new["returnMessage"] == "NEW_SESSION_SUCCESS"
    assert (new["version"], new["componentName"]) == (1, "MA")
    session = {name: new["returnData"][name] for name in ("id", "skey")}
    known = mina_auth(phone, "qcloud.cam.auth", **session).json
    assert known["returnCode"] == 0
    assert known["returnData"]["user_info"] == {
        "nickName": "Alice",
        "openId": wechat.openid("alice"),
        "unionId": wechat.unionid("alice"),
    }
    assert new["returnData"]["user_info"].items() >= known["returnData"]["user_info"].items()
    again = mina_auth(phone, "qcloud.cam.id_skey", code=phone.code(), encrypt_data="", iv="").json
    assert again["returnMessage"] == "UPDATE_SESSION_SUCCESS"
    assert again["returnData"]["duration"] == 7 * 24 * 3600


def test_the_session_server_tells_why_a_session_is_none(phone: Phone, clock: SettableClock) -> None:
    data = mina_auth(phone, "qcloud.cam.id_skey", code=phone.code()).json["returnData"]

    def code(**changed: str) -> int:
        session = {name: data[name] for name in ("id", "skey")} | changed
        returned: int = mina_auth(phone, "qcloud.cam.auth", **session).json["returnCode"]
        return returned

    assert code() == 0
    assert code(id="another") == 60012
    assert code(skey="another") == 60012
    clock.advance(days=8)
    assert code() == 60011


@pytest.mark.parametrize("path", ["/mina_auth", "/mina_auth/", "//mina_auth/", "/mina_auth//"])
@pytest.mark.parametrize(
    "key",
    [None, "", "Bearer", f"Bearer {API_KEY}x", "Bearer the session", "Basic eDp5", API_KEY],
    ids=["none", "empty", "no key", "another", "the session's own token", "a stranger", "bare"],
)
def test_the_session_server_tells_nobody_an_openid_without_an_api_key(
    make_app: Callable[..., Flask], phone: Phone, wechat: WeChat, path: str, key: str | None
) -> None:
    """Neither as a service nor in an application, by a session or by a code, below any path."""
    wechat.bind_open_platform(APPID)
    data = mina_auth(phone, "qcloud.cam.id_skey", code=phone.code()).json["returnData"]
    spent = len(wechat.exchanges)
    session = {name: data[name] for name in ("id", "skey")}
    key = key and key.replace("the session", str(session["skey"]))
    headers = {} if key is None else {"Authorization": key}
    service = make_app(dialects="all", api_keys=f"back-end:{API_KEY}")
    for app in (phone.app, service):
        for name, para in (
            ("qcloud.cam.auth", session),
            ("qcloud.cam.id_skey", {"code": phone.code()}),
        ):
            asking = Phone(app, wechat, "alice")
            answer = asking.send("POST", path, json=interface(name, **para), headers=headers)
            assert answer.status_code in {401, 404, 308}
            assert not any(
                told in answer.text for told in (wechat.openid("alice"), wechat.unionid("alice"))
            )
            if answer.status_code == 401:
                assert answer.json["returnCode"] == 1007
                assert answer.headers["WWW-Authenticate"] == 'Basic realm="wxsession"'
    assert len(wechat.exchanges) == spent


def test_the_session_server_tells_nobody_where_no_back_end_has_a_key(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    phone = Phone(make_app(dialects="all"), wechat, "alice")
    assert mina_auth(phone, "qcloud.cam.id_skey", code=phone.code()).status_code == 401


def test_the_key_of_a_back_end_may_be_in_the_url_that_it_was_given(phone: Phone) -> None:
    body = interface("qcloud.cam.id_skey", code=phone.code())
    url = f"http://back-end:{API_KEY}@localhost/mina_auth/"  # which becomes HTTP Basic
    headers = requests.Request("POST", url).prepare().headers
    answer = phone.send("POST", "/mina_auth/", json=body, headers=headers)
    assert answer.json["returnCode"] == 0


@pytest.mark.parametrize("name", ["qcloud.cam.initdata", "", "qcloud.cam.decrypt"])
def test_the_session_server_has_two_interfaces(phone: Phone, name: str) -> None:
    para = {"appid": APPID, "secret": "another-secret", "ip": "127.0.0.1"}
    answer = mina_auth(phone, name, **para).json
    assert (answer["returnCode"], answer["returnMessage"]) == (1007, "unknown interface")


# -- which are served -------------------------------------------------------------------------

ROUTES = {
    "wafer": "/weapp/login",
    "wafer-session-server": "/mina_auth",
    "onlogin": "/onLogin",
    "fetch-code": "/api/login",
}


def test_by_default_no_credentials_are_in_a_url(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    client = make_app().test_client()
    for path in ROUTES.values():
        assert client.get(path).status_code != 404
    for path in ("/login", "/onLogin"):
        assert client.get(path, query_string={"code": "x"}).status_code == 405
    assert "credentials" not in caplog.text


def test_who_names_them_is_warned_once(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    make_app(dialects="book,onlogin-get,wafer")
    warned = [one.message for one in caplog.records if one.levelno == logging.WARNING]
    assert warned == [
        "credentials are in URLs, and so in logs, with WXSESSION_DIALECTS=book,onlogin-get"
    ]


def test_none_is_served_where_none_is_wanted(make_app: Callable[..., Flask]) -> None:
    client = make_app(dialects="none").test_client()
    assert {client.get(path).status_code for path in ROUTES.values()} == {404}


def test_they_are_mounted_where_our_calls_are(make_host: MakeHost, wechat: WeChat) -> None:
    phone = Phone(make_host(url_prefix="/auth"), wechat, "alice")
    answer = phone.send("GET", "/auth/weapp/login", headers={"X-WX-Code": phone.code()})
    assert answer.json["code"] == 0


@pytest.mark.parametrize("names", ["waffle", "wafer,waffle", "wafer,all"])
def test_a_dialect_that_is_not_there_is_a_fault_among_the_others(names: str) -> None:
    values = {"WXSESSION_DIALECTS": names, "WXSESSION_APPS": "nonsense"}
    with pytest.raises(SettingsError) as caught:
        Settings.read(values, dialects=DIALECTS)
    assert any("WXSESSION_DIALECTS" in fault for fault in caught.value.faults)
    assert any("WXSESSION_APPS" in fault for fault in caught.value.faults)


def test_no_server_starts_with_a_dialect_that_is_not_there(
    make_app: Callable[..., Flask],
) -> None:
    with pytest.raises(SettingsError, match="WXSESSION_DIALECTS"):
        make_app(dialects="waffle")
