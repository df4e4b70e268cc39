"""Translation of the database drivers' errors into this package's own."""

import re
import sqlite3

from wxsession.common.logs import RareWarning
from wxsession.errors import Crossed, DatabaseUnavailable, Disconnected, NotReady, Overloaded

# Source: appendix "PostgreSQL Error Codes" of its manual.
_NO_SUCH_OBJECT = frozenset({"42P01", "42703", "3F000"})
# deadlock_detected, serialization_failure, invalid_sql_statement_name: what was prepared is gone
_CROSSED = frozenset({"40P01", "40001", "26000"})
_TOO_MANY_CONNECTIONS = "53300"
_INSUFFICIENT_PRIVILEGE = "42501"

# By text: SQLite has one code for all of the first, and a connection that libpq fails to open has
# no SQLSTATE.
_NO_SUCH_TABLE = re.compile(r"no such (table|column)|has no column named")
_TOO_MANY = re.compile(r"too many (connections|clients)|connection slots are reserved")

_warn = RareWarning(__name__)


def translated(error: BaseException | None, *, broken: bool) -> Overloaded | NotReady | None:
    """Log an error of the driver and return ours for it; None if it is a bug in this package.

    `broken` says that the connection was lost.
    """
    found = _meaning(error, broken=broken)
    # The driver's text has hosts and reasons in it, but neither values nor passwords.
    if found is not None:
        _warn("database: %s: %s", found.code, str(error).strip().replace("\n", "; "))
    return found


def no_answer_in_time() -> DatabaseUnavailable:
    """Log a wait that was cut off, and return its error."""
    _warn("database: %s: no answer in time", DatabaseUnavailable.code)
    return DatabaseUnavailable()


def is_refused_for_number(error: BaseException | None) -> bool:
    """Return whether the server refuses another connection, of this role or of any."""
    return bool(_TOO_MANY.search(str(error)))


def _meaning(error: BaseException | None, *, broken: bool) -> Overloaded | NotReady | None:
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate in _NO_SUCH_OBJECT or _is_of_sqlite(error, _NO_SUCH_TABLE):
        return NotReady()
    if broken:
        return Disconnected()
    if sqlstate in _CROSSED:
        return Crossed()
    if sqlstate == _TOO_MANY_CONNECTIONS or _is_busy(error) or is_refused_for_number(error):
        return Overloaded()
    if sqlstate == _INSUFFICIENT_PRIVILEGE or _is_operational(error):
        return DatabaseUnavailable()
    return None


def _is_of_sqlite(error: BaseException | None, words: re.Pattern[str]) -> bool:
    return isinstance(error, sqlite3.OperationalError) and bool(words.search(str(error)))


def _is_busy(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _is_operational(error: BaseException | None) -> bool:
    """Return whether the fault is the database's: DB-API's OperationalError (PEP 249)."""
    if type(error) is sqlite3.DatabaseError:
        return True  # "file is not a database"
    return any(kind.__name__ == "OperationalError" for kind in type(error).__mro__)
