"""Handing on WeChat's messages that are not for this server, to the operator's own.

They are signed as Standard Webhooks has it (https://www.standardwebhooks.com), so that receivers
need no code of their own for that. WeChat waits for five seconds and needs an answer in that time,
whatever the receiver does: a message that is not taken is logged, and lost.
"""

import hashlib
import json
import logging
import time
from concurrent.futures import Future
from datetime import datetime
from threading import Thread

import requests

from wxsession.common.clock import Clock
from wxsession.common.limits import Places
from wxsession.events import webhooks
from wxsession.settings import Webhook
from wxsession.wechat.push import Message

PATIENCE = 3.0
"""How many seconds it takes at most to hand on a message, or to give up."""

_TIMEOUT = (1.0, 2.0)
_MOST_AT_ONCE = 8

_log = logging.getLogger(__name__)


class Forwarder:
    """Sends messages to one receiver, a few at once."""

    def __init__(self, receiver: Webhook, *, http: requests.Session, clock: Clock) -> None:
        self._receiver = receiver
        self._http = http
        self._clock = clock
        self._places = Places(_MOST_AT_ONCE)

    def hand_on(self, message: Message) -> bool:
        """Return whether the receiver took a message; if it did not, the log says why."""
        deadline = time.monotonic() + PATIENCE
        if not self._places.take_within(PATIENCE):
            return _failed(message, "too many messages are on their way")
        # A thread of its own, because `requests` limits each wait and not all of them together.
        # The place is given back when the thread ends, not when nobody waits for it any more.
        done: Future[str | None] = Future()
        Thread(target=self._run, args=(message, done), daemon=True).start()
        try:
            failure = done.result(deadline - time.monotonic())
        except TimeoutError:
            failure = "no answer in time"
        return failure is None or _failed(message, failure)

    def _run(self, message: Message, done: "Future[str | None]") -> None:
        try:
            done.set_result(self._send(message))
        finally:
            self._places.give_back()

    def _send(self, message: Message) -> str | None:
        """Return why the receiver did not take a message; None if it did."""
        now = self._clock()
        sent = webhooks.Message(message_id(message), payload(message, now))
        return webhooks.post(self._http, self._receiver, sent, now, timeout=_TIMEOUT)


def payload(message: Message, at: datetime) -> bytes:
    """Return the JSON in which a message travels on, the message itself as WeChat wrote it."""
    if message.is_xml:
        member = f'"xml": {json.dumps(message.text, ensure_ascii=False)}'
    else:
        member = f'"message": {message.text}'
    data = f'{{"appid": {json.dumps(message.appid)}, {member}}}'
    head = f'"type": "wechat.message", "timestamp": "{at.isoformat()}"'
    return f'{{{head}, "data": {data}}}'.encode()


def message_id(message: Message) -> str:
    """Return an id that is the same whenever WeChat repeats a message."""
    content = f"{message.appid}\0{message.text}".encode()
    return f"msg_{hashlib.sha256(content).hexdigest()[:32]}"


def _failed(message: Message, failure: str) -> bool:
    _log.warning(
        "%s: a message of WeChat's was not handed on: %s; see WXSESSION_PUSH_FORWARD",
        *(message.appid, failure),
    )
    return False
