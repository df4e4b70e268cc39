"""How much room a session takes, its indexes included."""

from typing import Final

from benchmarks.bench import Bench
from benchmarks.outcome import Outcome, Table

_RELATIONS: Final = """
SELECT json_object_agg(relname, pg_relation_size(oid)) FROM pg_class
WHERE oid = 'wxsession_sessions'::regclass
   OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'wxsession_sessions'::regclass)
"""


def measure(bench: Bench) -> Outcome:
    """Return the sizes of the table and of its indexes, for a session."""
    filled = bench.ours()
    sizes: dict[str, int] = bench.postgres.scalar(filled.name, _RELATIONS)
    rows = [(name, f"{size / filled.sessions:.0f}") for name, size in sorted(sizes.items())]
    rows.append(("all", f"{sum(sizes.values()) / filled.sessions:.0f}"))
    return Outcome([Table((f"of {filled.sessions:,} sessions", "bytes a session"), rows)])
