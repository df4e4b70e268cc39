"""A line to WeChat that a test holds up."""

import queue
import threading
from typing import Any

import requests

from wxsession.simulator import WeChat
from wxsession.simulator.transport import WeChatAdapter


class HeldLine(WeChatAdapter):
    """A transport on which each call waits until the test lets it go on."""

    def __init__(self, wechat: WeChat) -> None:
        """Put a WeChat at its end."""
        super().__init__(wechat)
        self._arrived: queue.Queue[threading.Event] = queue.Queue()

    def session(self) -> requests.Session:
        """Return a session that has no other line."""
        session = requests.Session()
        session.mount("https://", self)
        return session

    def send(self, *request: Any, **options: Any) -> requests.Response:
        """Send it, when it may go on."""
        let_go = threading.Event()
        self._arrived.put(let_go)
        assert let_go.wait(60)
        return super().send(*request, **options)

    def next(self) -> threading.Event:
        """Return what lets the next call go on, once it is there."""
        return self._arrived.get(timeout=60)

    @property
    def is_quiet(self) -> bool:
        """Whether nobody waits."""
        return self._arrived.empty()
