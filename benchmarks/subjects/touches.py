"""What a touch leaves behind: WAL, and updates that had to go into every index."""

import time

from benchmarks.bench import Bench
from benchmarks.load import Work
from benchmarks.outcome import Figure, Outcome, Table
from benchmarks.servers import Ours

_UPDATES = """
SELECT json_build_object('all', n_tup_upd, 'hot', n_tup_hot_upd)
FROM pg_stat_user_tables WHERE relname = 'wxsession_sessions'
"""
_PLACE = "SELECT pg_current_wal_insert_lsn()::text"


def measure(bench: Bench) -> Outcome:
    """Check sessions that are to be touched after a second, again and again."""
    filled = bench.fresh(bench.scale.growth[0])
    postgres, name = bench.postgres, filled.name
    dates = postgres.scalar(name, "SELECT max(purge_on)::text FROM wxsession_sessions")
    before, place = postgres.scalar(name, _UPDATES), postgres.scalar(name, _PLACE)
    with Ours(filled.url, touch_interval="1s") as server:
        time.sleep(1)
        work = Work("GET", "/check_session", filled.requests)
        for _ in range(2):
            bench.load.run(server.port, work, seconds=bench.scale.seconds)
        written = postgres.scalar(name, f"SELECT pg_current_wal_insert_lsn() - '{place}'::pg_lsn")
    time.sleep(1)  # a process of the server reports what it did when it ends
    after = postgres.scalar(name, _UPDATES)
    touches, hot = (after[kind] - before[kind] for kind in ("all", "hot"))
    moved = postgres.scalar(
        name, f"SELECT count(*) FROM wxsession_sessions WHERE purge_on > '{dates}'"
    )
    bench.drop(filled)
    share = hot / max(1, touches - moved)
    rows = [
        ("touches", f"{touches:,}"),
        ("of these with another purge date", f"{moved:,}"),
        ("HOT among the others", f"{share:.1%}"),
        ("bytes of WAL a touch", f"{float(written) / max(1, touches):.0f}"),
    ]
    figure = Figure("HOT among touches that leave the purge date alone", 0.99, share, unit="")
    note = "The WAL is without images of whole pages, which depend on checkpoints alone."
    return Outcome([Table(("", ""), rows)], [figure], notes=[note])
