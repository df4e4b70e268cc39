"""Answers, byte by byte."""

from itertools import cycle

import pytest
from flask.testing import FlaskClient

from tests.simulator.support import APPS, access_token, login_query
from wxsession.simulator import Fault, WeChat
from wxsession.simulator.http import create_flask_app
from wxsession.simulator.open_data import hmac_signature

LOGIN, RESET = "/sns/jscode2session", "/wxa/resetusersessionkey"


@pytest.fixture
def slashes() -> WeChat:
    """Create a WeChat in which every session_key is full of slashes."""
    return WeChat(APPS, entropy=lambda size: b"\xff" * size)


def test_a_login_is_compact_json_with_escaped_slashes(slashes: WeChat) -> None:
    http = create_flask_app(slashes).test_client()
    response = http.get(LOGIN, query_string=login_query(slashes.login("alice")))
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain"
    assert response.data == (
        rb'{"session_key":"'
        + rb"\/" * 21
        + rb'w==","openid":"'
        + slashes.openid("alice").encode()
        + b'"}'
    )


def test_other_endpoints_escape_no_slashes(slashes: WeChat) -> None:
    http = create_flask_app(slashes).test_client()
    query = {
        "access_token": access_token(http),
        "openid": slashes.openid("alice"),
        "signature": hmac_signature(slashes.session_key("alice")),
        "sig_method": "hmac_sha256",
    }
    assert b"/" * 21 in http.get(RESET, query_string=query).data


def test_a_bound_app_gets_the_unionid_last(wechat: WeChat, http: FlaskClient) -> None:
    wechat.bind_open_platform()
    body = http.get(LOGIN, query_string=login_query(wechat.login("alice"))).data
    assert body.endswith(
        f'","openid":"{wechat.openid("alice")}","unionid":"{wechat.unionid("alice")}"}}'.encode()
    )
    assert b"errcode" not in body


def test_parameters_in_a_posted_body_do_not_count(wechat: WeChat, http: FlaskClient) -> None:
    query = login_query(wechat.login("alice"))
    for response in (http.post(LOGIN, data=query), http.post(LOGIN, json=query)):
        assert response.status_code == 200
        assert response.data.startswith(b'{"errcode":41002,"errmsg":"appid missing, rid: ')


def test_legacy_hints_replace_the_rid(wechat: WeChat, http: FlaskClient) -> None:
    wechat.fail_next(Fault.LEGACY_HINTS, times=2)
    body = http.get(LOGIN, query_string=login_query(wechat.login("alice"))).data
    assert body == (
        b'{"errcode":40029,"errmsg":"invalid code, hints: [ req_id: KfIawqLnRa-8oQBOA ]"}'
    )
    body = http.get(LOGIN, query_string=login_query("x", secret="wrong")).data
    assert body.startswith(b'{"errcode":40125,"errmsg":"invalid appsecret, hints: [ req_id: ')


@pytest.mark.parametrize(
    ("fault", "ending"),
    [
        (Fault.LEGACY_EXPIRES_IN, b',"expires_in":7200}'),
        (Fault.LEGACY_ERRCODE, b',"errcode":0,"errmsg":"ok"}'),
    ],
)
def test_a_success_of_the_past_has_something_more(
    wechat: WeChat, http: FlaskClient, fault: Fault, ending: bytes
) -> None:
    wechat.fail_next(fault)
    body = http.get(LOGIN, query_string=login_query(wechat.login("alice"))).data
    assert body.endswith(ending)


def test_the_wire_is_the_same_whatever_the_randomness() -> None:
    numbers = cycle(range(256))
    wechat = WeChat(APPS, entropy=lambda size: bytes(next(numbers) for _ in range(size)))
    http = create_flask_app(wechat).test_client()
    for _ in range(50):
        query = login_query(wechat.login("alice"))
        assert http.get(LOGIN, query_string=query).get_json(force=True) == {
            "session_key": wechat.session_key("alice"),
            "openid": wechat.openid("alice"),
        }
