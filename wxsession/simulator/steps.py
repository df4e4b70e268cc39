"""The steps that wx.getWeRunData tells."""

from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Final

DAYS: Final = 31

_CHINA: Final = timezone(timedelta(hours=8))
_MOST: Final = 20_000


def steps_until(moment: datetime, user: str) -> list[dict[str, int]]:
    """Return a user's steps of 31 days, today's last; each day is named by its first second.

    A day's steps are the same whenever they are asked for. That days are those of China, and the
    oldest comes first, was read off the official sample.
    """
    today = moment.astimezone(_CHINA).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [int((today - timedelta(days=back)).timestamp()) for back in range(DAYS - 1, -1, -1)]
    return [{"timestamp": day, "step": _steps(user, day)} for day in days]


def _steps(user: str, day: int) -> int:
    digest = sha256(f"{day}\0{user}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:4]) % _MOST
