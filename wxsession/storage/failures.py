"""What an error of a database's driver means to whoever asked."""

import re
import sqlite3

from wxsession.errors import Crossed, DatabaseUnavailable, Disconnected, NotReady, Overloaded
from wxsession.logs import RareWarning

# Source: appendix "PostgreSQL Error Codes" of its manual.
_NO_SUCH_OBJECT = frozenset({"42P01", "42703", "3F000"})
_CROSSED = frozenset({"40P01", "40001"})  # a deadlock, and two that cannot both have been first
_TOO_MANY_CONNECTIONS = "53300"
_MAY_NOT = "42501"

# SQLite has one code for all of these, and libpq none for why it was not let in.
_NO_SUCH_TABLE = re.compile(r"no such (table|column)|has no column named")
_TOO_MANY = re.compile(r"too many (connections|clients)|connection slots are reserved")

_warn = RareWarning(__name__)


def translated(error: BaseException | None, *, broken: bool) -> Overloaded | NotReady | None:
    """Return what an error of the driver is to others, having logged it; None for a bug of ours.

    The text of a driver's error has hosts and reasons in it, but neither values nor passwords.
    """
    found = _meaning(error, broken=broken)
    if found is not None:
        _warn("database: %s: %s", found.code, str(error).strip().replace("\n", "; "))
    return found


def no_answer_in_time() -> DatabaseUnavailable:
    """Return what a wait that was ended is to others, having logged it."""
    _warn("database: %s: no answer in time", DatabaseUnavailable.code)
    return DatabaseUnavailable()


def is_refused_for_number(error: BaseException | None) -> bool:
    """Return whether the server refuses one more connection of this role, or of anybody."""
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
    if sqlstate == _MAY_NOT or _is_operational(error):
        return DatabaseUnavailable()
    return None


def _is_of_sqlite(error: BaseException | None, words: re.Pattern[str]) -> bool:
    return isinstance(error, sqlite3.OperationalError) and bool(words.search(str(error)))


def _is_busy(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _is_operational(error: BaseException | None) -> bool:
    """Return whether the database could not do it: DB-API's OperationalError (PEP 249)."""
    if type(error) is sqlite3.DatabaseError:
        return True  # "file is not a database"
    return any(kind.__name__ == "OperationalError" for kind in type(error).__mro__)
