"""A breaker: a WeChat that has stopped answering is not asked by everybody.

A call that is not answered holds a thread until its timeout. After some of them in a row the
next ones are refused at once, and one call at a time finds out whether WeChat is back. That is a
call which a client wants anyway, so there is neither a clock nor a thread in here.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wxsession.errors import WeChatError
from wxsession.limits import ConcurrencyLimit

SILENCES = 3
"""So many calls in a row without an answer in time open the breaker."""

_log = logging.getLogger(__name__)


class Breaker:
    """Lets as many calls through as `limit` does; refuses them while WeChat does not answer."""

    def __init__(self, limit: ConcurrencyLimit, refusal: Callable[[], WeChatError]) -> None:
        self._limit = limit
        self._refusal = refusal
        self._lock = threading.Lock()
        self._probe = threading.Lock()
        self._answers = 0
        self._silences = 0

    def ensure_usable(self) -> None:
        """Return if a call can be made, or would be the one that finds out.

        Raises:
            WeChatError: the refusal.
        """
        if self._is_open() and self._probe.locked():
            raise self._refusal()

    @contextmanager
    def call(self) -> Iterator[int]:
        """Hold a place for a call; yield what `not_answered` wants to know of its beginning.

        Raises:
            Overloaded: no place was free in time.
            WeChatError: the refusal.
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
        """Note an answer in time, whatever it says."""
        with self._lock:
            if self._is_open():
                _log.warning("WeChat answers again")
                self._limit.open()
            self._answers += 1
            self._silences = 0

    def not_answered(self, begun: int) -> None:
        """Note that there was no answer in time, to nobody since this call began."""
        with self._lock:
            if begun != self._answers:
                return  # others were answered meanwhile: it is this call, and not WeChat
            self._silences += 1
            if self._silences == SILENCES:
                _log.warning("WeChat does not answer: one call at a time until it does")
                self._limit.close(self._refusal)

    def _is_open(self) -> bool:
        return self._silences >= SILENCES
