"""What WeChat sends: verifications and messages, in process and over HTTP."""

import json
from threading import Thread
from xml.etree import ElementTree as ET

import pytest
from click import UsageError
from flask import Flask, request
from werkzeug.serving import make_server

from tests.simulator.support import APPS, FIRST, SECOND
from wxsession.simulator import SettableClock, WeChat
from wxsession.simulator.http import create_app, create_flask_app

KEY = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


@pytest.fixture
def wechat(clock: SettableClock) -> WeChat:
    return WeChat(APPS, clock=clock, push={FIRST: ("token", None), SECOND: ("token", KEY)})


def test_a_message_says_who_did_what_and_when(wechat: WeChat, clock: SettableClock) -> None:
    message = wechat.push("user_authorization_revoke", "bob", members={"RevokeInfo": "8"})
    openid = wechat.openid("bob")
    assert (message.method, message.path) == ("POST", f"/wechat/push/{FIRST}")
    assert message.query["timestamp"] == str(int(clock().timestamp()))
    assert message.query["openid"] == openid
    assert json.loads(message.body) == {
        "ToUserName": "gh_0123456789ab",
        "FromUserName": openid,
        "CreateTime": int(clock().timestamp()),
        "MsgType": "event",
        "Event": "user_authorization_revoke",
        "OpenID": openid,
        "AppID": FIRST,
        "RevokeInfo": "8",
    }


def test_a_message_in_xml_has_the_same_members(wechat: WeChat) -> None:
    members = {"Content": "<b> ]]> &amp;"}
    message = wechat.push("", "bob", xml=True, members=members)
    root = ET.fromstring(message.body)  # noqa: S314 - our own
    assert root.tag == "xml"
    assert {child.tag: child.text for child in root}.items() >= members.items()


@pytest.mark.parametrize("xml", [False, True])
def test_in_safe_mode_nothing_is_in_clear(wechat: WeChat, *, xml: bool) -> None:
    message = wechat.push("user_info_modified", "bob", SECOND, xml=xml)
    assert b"user_info_modified" not in message.body
    assert b"Encrypt" in message.body
    assert message.query["encrypt_type"] == "aes"
    assert len(message.query["msg_signature"]) == 40


def test_an_app_without_messages_sends_none(clock: SettableClock) -> None:
    wechat = WeChat(APPS, clock=clock)
    with pytest.raises(ValueError, match="WXSESSION_PUSH"):
        wechat.verify_push()
    with pytest.raises(ValueError, match="WXSESSION_PUSH"):
        wechat.push("user_info_modified")


def test_the_secrets_come_from_the_same_variable_as_the_services() -> None:
    apps = {"WXSESSION_APPS": f"{FIRST}:secret"}
    assert create_app({**apps, "WXSESSION_PUSH": f"{FIRST}:token:{KEY}"})
    for wrong in (FIRST, f"{FIRST}:a:b:c", f"{FIRST}:token:{KEY}=="):
        with pytest.raises(UsageError, match="WXSESSION_PUSH"):
            create_app({**apps, "WXSESSION_PUSH": wrong})


def test_a_message_over_http_reaches_a_server(wechat: WeChat) -> None:
    shop, received = Flask("shop"), []

    @shop.post("/auth/wechat/push/<appid>")
    def push(appid: str) -> str:
        received.append((appid, request.args["openid"], request.get_json()["Event"]))
        return "success"

    server = make_server("127.0.0.1", 0, shop)
    Thread(target=server.serve_forever, daemon=True).start()
    http = create_flask_app(wechat).test_client()
    body = {"event": "user_info_modified", "url": f"http://127.0.0.1:{server.server_port}/auth/"}
    answer = http.post("/simulator/push", json=body)
    server.shutdown()
    server.server_close()
    assert answer.get_json() == {"answer": "success", "status": 200}
    assert received == [(FIRST, wechat.openid("alice"), "user_info_modified")]
    refused = http.post("/simulator/push", json=body)
    assert refused.status_code == 400
    assert "ConnectionError" in refused.get_json()["error"]
