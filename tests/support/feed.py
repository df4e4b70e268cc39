"""Who writes events and who reads them, in processes of their own that a test kills.

``python -m tests.support.feed URL write THREADS SECONDS``
``python -m tests.support.feed URL read FILE``
"""

import random
import sys
import threading
import time
from pathlib import Path
from uuid import UUID

from tests.support.settings import SECRET_KEY
from wxsession.common.clock import now
from wxsession.common.crypto import SecretKeys
from wxsession.errors import Overloaded
from wxsession.events.audit import SYSTEM, Audit
from wxsession.events.feed import Feed
from wxsession.storage.database import connect


def read_by(kept: Path) -> list[UUID]:
    """Return the ids of the events that a reader has dealt with, in their order."""
    return [UUID(id_) for _, ids in _whole_lines(kept) for id_ in ids.split()]


def _write(url: str, threads: int, seconds: float) -> None:
    """Write events in transactions that take their time."""
    database, over = connect(url), time.monotonic() + seconds
    audit = Audit(database, SecretKeys([SECRET_KEY]), now)

    def write() -> None:
        while time.monotonic() < over:
            try:
                with database.transaction() as transaction:
                    audit.write(transaction, "event", SYSTEM)
                    if transaction.is_postgresql:  # in SQLite nobody else writes meanwhile
                        transaction.flush()
                        time.sleep(random.uniform(0, 0.2))  # noqa: S311 - no secret
            except Overloaded:
                pass
            time.sleep(random.uniform(0, 0.05))  # noqa: S311

    writers = [threading.Thread(target=write) for _ in range(threads)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()


def _read(url: str, kept: Path) -> None:
    """Go on where the last reader stopped: a line has a cursor, and what was read before it."""
    feed, lines = Feed(connect(url)), _whole_lines(kept)
    kept.write_text("".join(f"{cursor},{ids};\n" for cursor, ids in lines))
    cursor = lines[-1][0] if lines else None
    with kept.open("a") as out:
        while True:
            page = feed.read(cursor, limit=20)
            cursor = page.next
            if page.events:
                out.write(f"{cursor},{' '.join(str(one.id) for one in page.events)};\n")
                out.flush()
            time.sleep(0.01)


def _whole_lines(kept: Path) -> list[tuple[str, str]]:
    lines = kept.read_text().splitlines() if kept.exists() else []
    found = [line.rstrip(";").split(",") for line in lines if line.endswith(";")]
    return [(cursor, ids) for cursor, ids in found]


if __name__ == "__main__":
    if sys.argv[2] == "write":
        _write(sys.argv[1], int(sys.argv[3]), float(sys.argv[4]))
    else:
        _read(sys.argv[1], Path(sys.argv[3]))
