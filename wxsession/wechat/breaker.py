"""A circuit breaker: while WeChat does not respond, only one call at a time is made.

A call without a response holds a thread until its timeout. After some of them in a row the next
calls are refused at once, and one at a time probes whether WeChat is back. The probe is a call
that a client needs anyway, so the breaker has neither a clock nor a thread.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wxsession.common.limits import ConcurrencyLimit
from wxsession.errors import WeChatError

SILENCES = 3
"""The number of calls in a row without a response in time that opens the breaker."""

_log = logging.getLogger(__name__)


class Breaker:
    """Lets through as many calls as `limit` does; refuses them while WeChat does not respond."""

    def __init__(self, limit: ConcurrencyLimit, refusal: Callable[[], WeChatError]) -> None:
        self._limit = limit
        self._refusal = refusal
        self._lock = threading.Lock()
        self._probe = threading.Lock()
        self._answers = 0
        self._silences = 0

    def ensure_usable(self) -> None:
        """Return if a call can be made, even if only as the probe.

        Raises:
            WeChatError: the refusal; another call is the probe.
        """
        if self._is_open() and self._probe.locked():
            raise self._refusal()

    @contextmanager
    def call(self) -> Iterator[int]:
        """Hold a place for a call; yield the number of responses so far, for `not_answered`.

        Raises:
            Overloaded: no place was free in time.
            WeChatError: the refusal; another call is the probe.
        """
        if not self._is_open():
            with self._limit.one():
                yield self._answers
        elif self._probe.acquire(blocking=False):
            try:
                yield self._answers
            finally:
                self._probe.release()
        else:
            raise self._refusal()

    def answered(self) -> None:
        """Note a response in time, whatever it says."""
        with self._lock:
            if self._is_open():
                _log.warning("WeChat answers again")
                self._limit.open()
            self._answers += 1
            self._silences = 0

    def not_answered(self, begun: int) -> None:
        """Note a call without a response in time; `begun` is the number that it was given."""
        with self._lock:
            if begun != self._answers:
                return  # another call got a response since: it is this call, not WeChat
            self._silences += 1
            if self._silences == SILENCES:
                _log.warning("WeChat does not answer: one call at a time until it does")
                self._limit.close(self._refusal)

    def _is_open(self) -> bool:
        return self._silences >= SILENCES
