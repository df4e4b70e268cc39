"""The request that is answered here and now: its id, and what becomes known of it."""

import itertools
import os
import re
import secrets
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any
from uuid import UUID

_GIVEN = "HTTP_X_REQUEST_ID"
_SAFE = re.compile(r"[A-Za-z0-9._:/+=~-]{8,128}", re.ASCII)


class RequestFacts:
    """A request: its id, and what becomes known of it while it is answered."""

    user_id: UUID | None = None
    session_id: UUID | None = None
    appid: str | None = None
    status: int = 500
    """Of the response; until there is one, that of a failure."""
    length: int = 0
    """The bytes that the response says its body has."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id


current_request: ContextVar[RequestFacts | None] = ContextVar("wxsession_request", default=None)
"""The request that is answered here and now, if it is one."""


def facts_of(environ: Mapping[str, Any], *, trusts_proxy: bool) -> RequestFacts:
    """Return a request with its id: that of a proxy of ours, if it gave one, or a new one."""
    if trusts_proxy and _SAFE.fullmatch(given := environ.get(_GIVEN, "")):
        return RequestFacts(given)
    return RequestFacts(new_request_id())


def forget_request() -> None:
    """Let the thread go on to other requests."""
    current_request.set(None)


def current_request_id() -> str | None:
    """Return the id of the request that is answered here and now, if it is one."""
    facts = current_request.get()
    return None if facts is None else facts.request_id


def note_session(user_id: UUID, session_id: UUID, appid: str | None = None) -> None:
    """Remember for the access log whose session the current request is about."""
    facts = current_request.get()
    if facts is not None:
        facts.user_id, facts.session_id = user_id, session_id
        facts.appid = appid or facts.appid


class RequestIds:
    """Makes ids of requests: UUIDv7 as text, with a counter in it (RFC 9562, 6.2).

    They are names and not secrets. So they are made without a system call and without an object of
    `uuid`, which would take twice as long, for every check.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, in a forked child: it must not continue its parent's ids."""
        drawn = secrets.randbits(73)
        self._middle = f"-{0x7000 | drawn & 0xFFF:04x}-{0x8000 | drawn >> 12 & 0x3FFF:04x}-"
        self._numbers = itertools.count(drawn >> 26)
        self._beginning = 0, ""

    def new(self) -> str:
        """Return the next one."""
        now = time.time_ns() // 1_000_000
        last, beginning = self._beginning
        if now != last:
            digits = f"{now:012x}"
            beginning = f"{digits[:8]}-{digits[8:]}{self._middle}"
            self._beginning = now, beginning
        return f"{beginning}{next(self._numbers):012x}"


_request_ids = RequestIds()
new_request_id = _request_ids.new
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork either
    os.register_at_fork(after_in_child=_request_ids.forget)
