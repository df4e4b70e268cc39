"""How often a user's codes may be exchanged."""

from collections import defaultdict, deque
from datetime import datetime, timedelta
from typing import Final

from .errors import WeChatError

_MINUTE: Final = timedelta(minutes=1)


class Quota:
    """So many calls for one user of one app in any sixty seconds.

    "Each user 100 times a minute" is what the older documentation says; today's names no number.
    """

    def __init__(self, per_minute: int) -> None:
        """Allow `per_minute` calls for each."""
        self._per_minute = per_minute
        self._calls: defaultdict[tuple[str, str], deque[datetime]] = defaultdict(deque)

    def draw(self, user: str, appid: str, now: datetime) -> None:
        """Count one call.

        Raises:
            WeChatError: 45011, it was one too many; a refused call does not count.
        """
        calls = self._calls[user, appid]
        while calls and now - calls[0] >= _MINUTE:
            calls.popleft()
        if len(calls) >= self._per_minute:
            raise WeChatError.of(45011)
        calls.append(now)
