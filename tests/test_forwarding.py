"""WeChat's messages that are not for this server: handed on, signed, in bounded time."""

import io
import json
import logging
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from hmac import digest
from typing import Any

import pytest
import requests
from flask import Flask
from requests.adapters import BaseAdapter
from sqlalchemy import select

from tests.support.app import services_of
from tests.support.push import MESSAGES, SETTING, delivered
from tests.support.settings import APPID, APPS, OTHER_APPID
from tests.support.waiting import eventually
from wxsession.simulator import SettableClock, WeChat, wechat_transport
from wxsession.storage.tables import audit_events

URL = "https://shop.example:8443/wechat/"
SECRET = bytes(range(32))


class Receiver(BaseAdapter):
    """The operator's own server: remembers what it is sent, and answers as it is told."""

    def __init__(self) -> None:
        """Take everything."""
        super().__init__()
        self.received: list[requests.PreparedRequest] = []
        self.answer: int | Exception = 204
        self.free = threading.Event()
        self.free.set()

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Answer a request, as soon as that is free."""
        self.received.append(request)
        self.free.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        response = requests.Response()
        response.status_code, response.url, response.raw = self.answer, URL, io.BytesIO()
        response.request = request
        return response

    def close(self) -> None:
        """Keep nothing open."""


@pytest.fixture
def wechat(clock: SettableClock) -> WeChat:
    return WeChat(APPS, clock=clock, push=MESSAGES)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.free.set()


@pytest.fixture
def app(make_app: Callable[..., Flask], receiver: Receiver, wechat: WeChat) -> Flask:
    """Return a server that hands on what is not its own."""
    http = wechat_transport(wechat)
    http.mount(URL, receiver)
    secret = f"whsec_{b64encode(SECRET).decode()}"
    return make_app(push=SETTING, push_forward=f"{URL}:{secret}", http=http)


def not_forwarded(app: Flask) -> list[tuple[str | None, int]]:
    c = audit_events.c
    query = select(c.appid, c.count).where(c.event == "push.lost")
    with services_of(app).database.statement() as connection:
        return [tuple(row) for row in connection.execute(query)]


@pytest.mark.parametrize("appid", APPS)
def test_a_message_is_handed_on_as_wechat_wrote_it(
    app: Flask, wechat: WeChat, receiver: Receiver, clock: SettableClock, appid: str
) -> None:
    about = {"MsgType": "text", "Content": "你好 </xml>", "MsgId": 24}
    assert delivered(app, wechat.push("", "alice", appid, members=about)).text == "success"
    assert (
        delivered(app, wechat.push("", "alice", appid, members=about, xml=True)).text == "success"
    )
    in_json, in_xml = (json.loads(sent.body or b"") for sent in receiver.received)
    assert in_json["type"] == in_xml["type"] == "wechat.message"
    assert in_json["data"]["appid"] == in_xml["data"]["appid"] == appid
    message = in_json["data"]["message"]
    assert message["FromUserName"] == wechat.openid("alice", appid)
    assert message.items() >= about.items()
    assert "<Content><![CDATA[你好 </xml>]]></Content>" in in_xml["data"]["xml"]
    for sent in receiver.received:
        assert sent.headers["Content-Type"] == "application/json"
        assert sent.url == URL
        ensure_signed(sent, clock)
    assert not not_forwarded(app)


def test_a_message_that_begins_with_a_byte_order_mark_is_handed_on_without_it(
    app: Flask, wechat: WeChat, receiver: Receiver
) -> None:
    message = wechat.push("debug_demo", "alice", OTHER_APPID)
    marked = message._replace(body="\ufeff".encode() + message.body)
    assert delivered(app, marked).text == "success"
    (sent,) = receiver.received
    assert json.loads(sent.body or b"")["data"]["message"] == json.loads(message.body)


def ensure_signed(sent: requests.PreparedRequest, clock: SettableClock) -> None:
    """Verify a webhook as its receiver does (https://www.standardwebhooks.com)."""
    id_, timestamp, signature = (
        sent.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
    )
    assert int(timestamp) == int(clock().timestamp())
    assert isinstance(sent.body, bytes)
    version, _, mac = signature.partition(",")
    assert version == "v1"
    assert b64decode(mac) == digest(SECRET, f"{id_}.{timestamp}.".encode() + sent.body, sha256)


def test_what_wechat_repeats_has_the_same_id(
    app: Flask, wechat: WeChat, receiver: Receiver, clock: SettableClock
) -> None:
    same = {"CreateTime": 1, "MsgId": 24}
    for appid, members in (
        (APPID, same),
        (APPID, same),
        (APPID, {**same, "MsgId": 25}),
        (OTHER_APPID, same),
    ):
        delivered(app, wechat.push("", "alice", appid, members={**members, "AppID": ""}))
        clock.advance(seconds=5)
    ids = [sent.headers["webhook-id"] for sent in receiver.received]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_what_is_about_a_user_is_not_handed_on(
    app: Flask, wechat: WeChat, receiver: Receiver
) -> None:
    for event in "user_info_modified", "user_authorization_revoke":
        assert delivered(app, wechat.push(event)).text == "success"
    assert not receiver.received


def test_what_is_forged_is_not_handed_on(app: Flask, wechat: WeChat, receiver: Receiver) -> None:
    message = wechat.push("debug_demo")
    assert delivered(app, message._replace(body=message.body[:-30])).status_code == 400
    assert delivered(app, message._replace(query={**message.query, "nonce": ""})).status_code == 403
    assert not receiver.received


@pytest.mark.parametrize(
    "answer",
    [400, 500, 302, requests.ConnectionError("refused"), requests.ReadTimeout(), ValueError()],
)
def test_a_message_that_is_not_taken_is_counted_and_wechat_is_answered(
    app: Flask,
    wechat: WeChat,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    answer: int | Exception,
) -> None:
    receiver.answer = answer
    for _ in range(2):
        assert delivered(app, wechat.push("debug_demo")).text == "success"
    assert not_forwarded(app) == [(APPID, 2)]
    told = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(told) == 2
    assert all("WXSESSION_PUSH_FORWARD" in record.getMessage() for record in told)
    assert URL not in caplog.text


def test_a_receiver_that_hangs_holds_up_nobody_for_long(
    app: Flask, wechat: WeChat, receiver: Receiver
) -> None:
    receiver.free.clear()
    with ThreadPoolExecutor(20) as many:
        answers = list(many.map(lambda _: delivered(app, wechat.push("debug_demo")), range(20)))
    assert {answer.text for answer in answers} == {"success"}
    assert 1 <= len(receiver.received) <= 8
    assert sum(count for _, count in not_forwarded(app)) == 20
    receiver.free.set()
    eventually(
        lambda: bool(delivered(app, wechat.push("debug_demo")).text) and len(receiver.received) > 8
    )
