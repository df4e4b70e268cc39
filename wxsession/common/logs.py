"""Log lines as JSON, one object a line, and the request that they belong to."""

import itertools
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from uuid import UUID

ACCESS_LOG = "wxsession.access"
"""The logger that has a line for each request."""

_SECONDS_BETWEEN = 10.0


class RequestFacts:
    """A request: its id, and what becomes known of it while it is answered."""

    user_id: UUID | None = None
    session_id: UUID | None = None
    appid: str | None = None

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id


current_request: ContextVar[RequestFacts | None] = ContextVar("wxsession_request", default=None)
"""The request that is answered here and now, if it is one."""


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


class RareWarning:
    """Warns of what fails for many at once: at most once in ten seconds, with a count."""

    def __init__(self, logger: str, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._log = logging.getLogger(logger)
        self._timer = timer
        self._lock = threading.Lock()
        self._silent_until = 0.0
        self._unsaid = 0

    def __call__(self, message: str, *arguments: object) -> None:
        """Log a warning, or count it with those that the next one speaks of."""
        with self._lock:
            now = self._timer()
            if now < self._silent_until:
                self._unsaid += 1
                return
            unsaid, self._unsaid = self._unsaid, 0
            self._silent_until = now + _SECONDS_BETWEEN
        more = f" ({unsaid} more failed since the last line)" if unsaid else ""
        self._log.warning(message + more, *arguments)


class JsonFormatter(logging.Formatter):
    """Writes records as JSON; a line break in what was logged cannot begin a new line.

    A record has the id of the request in which it was logged, and the `fields` that it was given as
    `extra`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (request_id := current_request_id()) is not None:
            line["request_id"] = request_id
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
