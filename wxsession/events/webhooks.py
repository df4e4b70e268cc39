"""Webhooks: events sent to addresses of the operator's, as Standard Webhooks has them.

https://github.com/standard-webhooks/standard-webhooks: the id of the event, the time of the attempt
and the body are signed, so that a receiver knows who sent it, and when.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

import requests

from wxsession.common.adapters import NOT_PUBLIC, PublicAdapter, TimelyAdapter
from wxsession.events.event import Event
from wxsession.settings import Webhook

_TAKEN: Final = range(200, 300)
_TIMEOUT: Final = (5.0, 10.0)
"""Seconds to connect, and for an answer."""


def payload(event: Event) -> bytes:
    """Return the body: type, timestamp and data; what is None is left out."""
    data = {
        "user_id": event.user_id,
        "new_user_id": event.new_user_id,
        "session_id": event.session_id,
        "appid": event.appid,
        "reason": event.reason,
        "actor": event.actor,
        "count": event.count,
        "client_address": event.client_address,
        "user_agent": event.user_agent,
        "openids": event.openids,
    }
    told = {name: value for name, value in data.items() if value is not None}
    body = {"type": event.event, "timestamp": event.at.isoformat(), "data": told}
    return json.dumps(body, default=str, separators=(",", ":")).encode()


def headers(webhook: Webhook, message_id: str, at: datetime, body: bytes) -> Mapping[str, str]:
    """Return the headers by which the receiver knows the message: its id, time and signature."""
    seconds = str(int(at.timestamp()))
    signed = b".".join((message_id.encode(), seconds.encode(), body))
    signature = base64.b64encode(hmac.digest(webhook.secret, signed, hashlib.sha256)).decode()
    return {
        "Content-Type": "application/json",
        "User-Agent": "wxsession",
        "webhook-id": message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{signature}",
    }


class Sender:
    """Sends messages, and follows no redirect: whoever is told was named by the operator.

    Without `to_private` a connection to an address that is not public is refused, whatever a name
    resolves to: somebody who may name a URL must not reach what is behind the firewall.

    `timeout` is in seconds: to connect, and until the head of an answer is there.
    """

    def __init__(self, *, to_private: bool, timeout: tuple[float, float] = _TIMEOUT) -> None:
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, TimelyAdapter() if to_private else PublicAdapter())

    def send(self, webhook: Webhook, event: Event, at: datetime) -> str | None:
        """Send an event; return None if the receiver took it, otherwise why not, in words."""
        message = Message(str(event.id), payload(event))
        return post(self._session, webhook, message, at, timeout=self._timeout)


class Message(NamedTuple):
    """What is sent: an id, the same at each attempt, and a body."""

    id: str
    body: bytes


def post(
    session: requests.Session,
    webhook: Webhook,
    message: Message,
    at: datetime,
    *,
    timeout: tuple[float, float] = _TIMEOUT,
) -> str | None:
    """Send a message; return None if the receiver took it, otherwise why not, in words.

    `timeout` is in seconds: to connect, and to read.
    """
    try:
        with session.post(
            webhook.url,
            data=message.body,
            headers=headers(webhook, message.id, at, message.body),
            timeout=timeout,
            allow_redirects=False,
            stream=True,  # whatever it answers beside the status is not read
        ) as answer:
            status = answer.status_code
    except (requests.RequestException, ValueError) as error:
        return _in_words(error)
    return None if status in _TAKEN else f"answered {status}"


def _in_words(error: Exception) -> str:
    """Return what is wrong, without the URL, which may hold a secret."""
    if NOT_PUBLIC in str(error):
        return NOT_PUBLIC
    match error:
        case requests.exceptions.SSLError():
            return "its certificate is not valid"
        case requests.Timeout():
            return "did not answer in time"
        case requests.ConnectionError():
            return "could not be reached"
    return type(error).__name__
