"""Answers, byte by byte."""

from collections.abc import Callable
from itertools import cycle

import pytest
from flask.testing import FlaskClient

from wxsession.simulator import Fault, WeChat
from wxsession.simulator.http import create_flask_app

Query = Callable[..., dict[str, str]]

URL = "/sns/jscode2session"


@pytest.fixture
def slashes() -> WeChat:
    """Create a world in which every session_key is full of slashes."""
    return WeChat({"wx0000000000000001": "secret-one"}, entropy=lambda size: b"\xff" * size)


def test_a_success_is_compact_json_with_escaped_slashes(slashes: WeChat, query: Query) -> None:
    response = (
        create_flask_app(slashes).test_client().get(URL, query_string=query(slashes.login("alice")))
    )
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain"
    assert response.data == (
        rb'{"session_key":"'
        + rb"\/" * 21
        + rb'w==","openid":"'
        + slashes.openid("alice").encode()
        + b'"}'
    )


def test_a_bound_app_gets_the_unionid_last(wechat: WeChat, query: Query, http: FlaskClient) -> None:
    wechat.bind_open_platform()
    body = http.get(URL, query_string=query(wechat.login("alice"))).data
    assert body.endswith(
        f'","openid":"{wechat.openid("alice")}","unionid":"{wechat.unionid("alice")}"}}'.encode()
    )
    assert b"errcode" not in body


def test_parameters_in_a_posted_body_do_not_count(
    wechat: WeChat, query: Query, http: FlaskClient
) -> None:
    asked = query(wechat.login("alice"))
    for response in (http.post(URL, data=asked), http.post(URL, json=asked)):
        assert response.status_code == 200
        assert response.data.startswith(b'{"errcode":41002,"errmsg":"appid missing, rid: ')


def body_after(wechat: WeChat, query: Query, http: FlaskClient, fault: Fault) -> bytes:
    wechat.fail_next(fault)
    return bytes(http.get(URL, query_string=query(wechat.login("alice"))).data)


def test_legacy_hints_replace_the_rid(wechat: WeChat, query: Query, http: FlaskClient) -> None:
    expected = b'{"errcode":40029,"errmsg":"invalid code, hints: [ req_id: KfIawqLnRa-8oQBOA ]"}'
    assert body_after(wechat, query, http, Fault.LEGACY_HINTS) == expected
    wechat.fail_next(Fault.LEGACY_HINTS)
    body = http.get(URL, query_string=query("x", secret="wrong")).data
    assert body.startswith(b'{"errcode":40125,"errmsg":"invalid appsecret, hints: [ req_id: ')


@pytest.mark.parametrize(
    ("fault", "ending"),
    [
        (Fault.LEGACY_EXPIRES_IN, b',"expires_in":7200}'),
        (Fault.LEGACY_ERRCODE, b',"errcode":0,"errmsg":"ok"}'),
    ],
)
def test_a_success_of_the_past_has_something_more(
    wechat: WeChat, query: Query, http: FlaskClient, fault: Fault, ending: bytes
) -> None:
    assert body_after(wechat, query, http, fault).endswith(ending)


def test_the_wire_is_the_same_whatever_the_randomness(query: Query) -> None:
    numbers = cycle(range(256))
    wechat = WeChat(
        {"wx0000000000000001": "secret-one"},
        entropy=lambda size: bytes(next(numbers) for _ in range(size)),
    )
    http = create_flask_app(wechat).test_client()
    for _ in range(50):
        asked = query(wechat.login("alice"))
        assert http.get(URL, query_string=asked).get_json(force=True) == {
            "session_key": wechat.session_key("alice"),
            "openid": wechat.openid("alice"),
        }
