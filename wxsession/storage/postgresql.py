"""How a connection to PostgreSQL is opened, so that none of them is waited for without end."""

import logging
import secrets
import time
from typing import Any

from sqlalchemy import Dialect

from wxsession.storage.watchdog import Watchdog

SERVER_LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
"""What the server itself ends, so that nothing is left of a wait that was given up here."""

CONNECT_SECONDS = 2
"""How long one host of the URL may take; it is the least that libpq knows."""

_log = logging.getLogger(__name__)


def network_options(timeout: float) -> dict[str, object]:
    """Return libpq's options by which a host that vanished is noticed in less than `timeout`.

    Source: "Connection Control Functions", "Parameter Key Words", in PostgreSQL's manual.
    """
    return {
        "connect_timeout": CONNECT_SECONDS,
        "tcp_user_timeout": int(timeout * 600),  # milliseconds, for what was sent
        "keepalives": 1,  # and for what is waited for
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 3,
    }


class Opener:
    """Opens connections in place of SQLAlchemy; what it learns is good for the whole process.

    `timeout` is in seconds, for a statement, for a lock, and for a transaction that nobody goes on
    with.
    """

    def __init__(self, watchdog: Watchdog, *, timeout: float, prepares: bool) -> None:
        self._watchdog = watchdog
        self._limits: str | None = _server_limits(timeout)
        self._last_host: tuple[str, str] | None = None
        self._knows_pooler = not prepares
        self.prepares = prepares
        """Whether statements are prepared on the server."""

    def connect(
        self, dialect: Dialect, _entry: object, arguments: list[Any], parameters: dict[str, Any]
    ) -> Any:
        """Return a new connection of psycopg's; SQLAlchemy calls it as "do_connect"."""
        driver: Any = dialect.loaded_dbapi
        self._put_last_host_first(parameters)
        connection = self._connect(driver, arguments, parameters)
        info = connection.info
        self._last_host = info.host, str(info.port)
        if not self._knows_pooler:
            self._look_for_pooler(driver, connection)
        if not self.prepares:  # as the first of several that were opened at once found out
            connection.prepare_threshold = None
        return connection

    def _connect(self, driver: Any, arguments: list[Any], parameters: dict[str, Any]) -> Any:
        if self._limits is None:
            return driver.connect(*arguments, **parameters)
        given = parameters.get("options") or ""
        limited = {**parameters, "options": f"{self._limits} {given}".strip()}
        try:
            return driver.connect(*arguments, **limited)
        except driver.OperationalError as error:
            if "unsupported startup parameter" not in str(error):
                raise
        connection = driver.connect(*arguments, **parameters)
        self._limits = None  # PgBouncer's words, for what it does not hand on
        _log.warning(
            "the pooler before the database takes no statement_timeout from its clients; so that"
            " the server ends what nobody waits for any more, set it for the role:"
            " ALTER ROLE … SET statement_timeout = '5s'; the same for lock_timeout"
        )
        return connection

    def _put_last_host_first(self, parameters: dict[str, Any]) -> None:
        """Ask the host first that was the right one last: the one before it may have vanished."""
        hosts = str(parameters.get("host") or "").split(",")
        if self._last_host is None or len(hosts) == 1:
            return
        ports = str(parameters.get("port") or "").split(",")
        ports *= len(hosts) if len(ports) == 1 else 1
        pairs = sorted(
            zip(hosts, ports, strict=True),
            key=lambda pair: (pair[0], pair[1] or "5432") != self._last_host,
        )
        parameters["host"] = ",".join(host for host, _ in pairs)
        parameters["port"] = ",".join(port for _, port in pairs)

    def _look_for_pooler(self, driver: Any, connection: Any) -> None:
        with self._watchdog.watching(connection, time.monotonic() + CONNECT_SECONDS):
            loses = _loses_prepared_statements(driver, connection)
        self._knows_pooler = True
        if loses:
            self.prepares = False
            _log.warning(
                "the pooler before the database does not know prepared statements: none are used;"
                " set WXSESSION_PREPARED_STATEMENTS=off, or let the pooler know them"
                " (PgBouncer 1.21 or later: max_prepared_statements)"
            )


def _server_limits(timeout: float) -> str:
    return " ".join(f"-c {name}={int(timeout * 1000)}" for name in SERVER_LIMITS)


def _loses_prepared_statements(driver: Any, connection: Any) -> bool:
    """Return whether a pooler is in between that hands a statement's name on as it is.

    On its next server connection the statement would not be there, or be somebody else's. A pooler
    gives its clients process ids of its own, and one that knows prepared statements, names too.
    """
    libpq, name = connection.pgconn, b"wxsession_" + secrets.token_hex(8).encode()
    libpq.exec_(b"BEGIN")  # keeps one server connection until COMMIT
    libpq.prepare(name, b"SELECT 1")
    asked = b"SELECT pg_backend_pid(), EXISTS (SELECT FROM pg_prepared_statements WHERE name = $1)"
    found = libpq.exec_params(asked, [name])
    pid, is_as_named = found.get_value(0, 0), found.get_value(0, 1) == b"t"
    if is_as_named:
        libpq.exec_(b"DEALLOCATE " + name)
    if libpq.exec_(b"COMMIT").status != driver.pq.ExecStatus.COMMAND_OK:
        raise driver.OperationalError("the database broke off while it was asked for its pooler")
    return bool(is_as_named and int(pid) != libpq.backend_pid)
