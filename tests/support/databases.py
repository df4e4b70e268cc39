"""Which databases a test runs on: SQLite, unless its mark says otherwise.

Both are for what differs between them: SQL, locks, and types. The closest mark holds, so a test
may differ from its module.
"""

import pytest

ON_BOTH = pytest.mark.databases("sqlite", "postgresql")
ON_SQLITE = pytest.mark.databases("sqlite")
ON_POSTGRESQL = pytest.mark.databases("postgresql")
