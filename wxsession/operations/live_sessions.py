"""How many sessions are live: counted by the purge, in pages, so that no screen has to."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from sqlalchemy import func, literal, select, tuple_

from wxsession.operations.job_results import note
from wxsession.storage.database import Database
from wxsession.storage.tables import is_live, sessions

LIVE: Final = "live_sessions"
"""Under this name stands how many there were, and when they were counted."""

_PAGE: Final = 10_000


def count_live(
    database: Database,
    now: datetime,
    *,
    is_time: Callable[[], bool] = lambda: True,
    page: int = _PAGE,
    pause: Callable[[], None] = lambda: None,
) -> int | None:
    """Count the live sessions, apart from the state of their users; None if the time was up.

    Raises:
        Overloaded: the database did not answer in time.
    """
    c = sessions.c
    # None that is live is purged earlier than today, and those are adjacent in the index.
    of_page = select(c.purge_on, c.id, is_live(now).label("live")).order_by(c.purge_on, c.id)
    of_page = of_page.where(c.purge_on >= now.date())
    total, last = 0, None
    while True:
        if not is_time():
            return None
        query = of_page
        if last is not None:
            here = literal(last.purge_on, c.purge_on.type), literal(last.id, c.id.type)
            query = query.where(tuple_(c.purge_on, c.id) > tuple_(*here))
        rows = query.limit(page).subquery()
        live = func.count().filter(rows.c.live)
        with database.statement() as connection:
            total += connection.execute(select(live)).scalar_one()
            position = query.limit(1).offset(page - 1)
            last = connection.execute(position).first()
        if last is None:
            note(database, LIVE, "sessions", total)
            return total
        pause()
