"""Log lines as JSON, one object a line, with the id of the request that they belong to."""

import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from wxsession.common.current_request import current_request_id

ACCESS_LOG = "wxsession.access"
"""The logger that has a line for each request."""

_SECONDS_BETWEEN = 10.0


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
