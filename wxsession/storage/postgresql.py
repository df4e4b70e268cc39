"""Opening of connections to PostgreSQL, so that no wait for one is endless."""

import logging
import secrets
import time
from typing import Any

from sqlalchemy import Dialect

from wxsession.storage.watchdog import Overdue, Watchdog

SERVER_LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
"""The server's own time limits, which end what a client that gave up has left running there."""

CONNECT_SECONDS = 2
"""How long the connection to one host of the URL may take; libpq's minimum."""

# The first eight digits of a segment's name, as text: of the same length, they sort like numbers. A
# standby has none to write to.
_TIMELINE = (
    b"SELECT CASE WHEN NOT pg_is_in_recovery()"
    b" THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END"
)

_Host = tuple[str, str]

_log = logging.getLogger(__name__)


def network_options(timeout: float) -> dict[str, object]:
    """Return libpq's options that detect a vanished host in less than `timeout` seconds.

    Source: "Connection Control Functions", "Parameter Key Words", in PostgreSQL's manual.
    """
    return {
        "connect_timeout": CONNECT_SECONDS,
        "tcp_user_timeout": int(timeout * 600),  # milliseconds: 60 % of it, for data we sent
        "keepalives": 1,  # while we wait for data
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 3,
    }


class Opener:
    """Opens connections in place of SQLAlchemy, and remembers what it learns about the server.

    `timeout` is in seconds, for a statement, for a lock, and for an idle transaction.
    """

    def __init__(self, watchdog: Watchdog, *, timeout: float, prepares: bool) -> None:
        self._watchdog = watchdog
        self._limits: str | None = _server_limits(timeout)
        self._last_host: _Host | None = None
        self._failed_host: _Host | None = None
        self._timeline = b""
        self._knows_pooler = not prepares
        self.prepares = prepares
        """Whether statements are prepared on the server."""

    def connect(
        self, dialect: Dialect, _entry: object, arguments: list[Any], parameters: dict[str, Any]
    ) -> Any:
        """Return a new psycopg connection; called by SQLAlchemy's event "do_connect"."""
        driver: Any = dialect.loaded_dbapi
        first, several = self._last_host, self._sort_hosts(parameters)
        try:
            connection = self._connect(driver, arguments, parameters)
            if several:
                self._refuse_former_primary(driver, connection)
            if not self._knows_pooler:
                self._look_for_pooler(driver, connection)
        except (driver.OperationalError, Overdue) as error:
            if self._last_host == first:  # otherwise another thread knows better meanwhile
                self._try_last(first)
            if isinstance(error, Overdue):
                raise driver.OperationalError("the server does not respond") from error
            raise
        self._last_host = connection.info.host, str(connection.info.port)
        if self._failed_host == self._last_host:
            self._failed_host = None
        # Not an else: another thread, which opened its connection at the same time, may have found
        # the pooler.
        if not self.prepares:
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
        # It works without them: PgBouncer refuses startup parameters that it does not pass on.
        self._limits = None
        _log.warning(
            "the pooler before the database does not accept statement_timeout from its clients; so"
            " that the server ends abandoned statements, set it for the role:"
            " ALTER ROLE … SET statement_timeout = '5s'; the same for lock_timeout"
        )
        return connection

    def _sort_hosts(self, parameters: dict[str, Any]) -> bool:
        """Let the host of the last connection be tried first; return whether there are several.

        Those before it in the URL may be gone. One that was the last, and can be reached no more,
        is tried last: while it is gone each attempt would wait for it, and find it if it comes back
        after another one took its place.
        """
        hosts = str(parameters.get("host") or "").split(",")
        if len(hosts) == 1:
            return False
        ports = str(parameters.get("port") or "").split(",")
        ports *= len(hosts) if len(ports) == 1 else 1
        pairs = [(host, port or "5432") for host, port in zip(hosts, ports, strict=True)]
        pairs.sort(key=lambda pair: (pair == self._failed_host) - (pair == self._last_host))
        parameters["host"] = ",".join(host for host, _ in pairs)
        parameters["port"] = ",".join(port for _, port in pairs)
        return True

    def _try_last(self, host: _Host | None) -> None:
        if host is not None:
            self._failed_host = host
            if self._last_host == host:
                self._last_host = None

    def _refuse_former_primary(self, driver: Any, connection: Any) -> None:
        """Close a connection to a primary that another one has replaced.

        A machine that was frozen takes itself for the primary for a moment after it thaws. Each
        promotion begins a new timeline of the log, and this process may know of a newer one.
        """
        with self._watchdog.watching(connection, time.monotonic() + CONNECT_SECONDS):
            timeline: bytes = connection.pgconn.exec_(_TIMELINE).get_value(0, 0) or b""
        if timeline and timeline < self._timeline:
            host = connection.info.host
            self._try_last((host, str(connection.info.port)))
            connection.close()
            raise driver.OperationalError(
                f"another primary has replaced {host}: its timeline is {timeline.decode()}, and"
                f" there was {self._timeline.decode()}; after a restore, restart the service"
            )
        self._timeline = max(self._timeline, timeline)

    def _look_for_pooler(self, driver: Any, connection: Any) -> None:
        with self._watchdog.watching(connection, time.monotonic() + CONNECT_SECONDS):
            loses = _loses_prepared_statements(driver, connection)
        self._knows_pooler = True
        if loses:
            self.prepares = False
            _log.warning(
                "the pooler before the database does not support prepared statements, so none are"
                " used; set WXSESSION_PREPARED_STATEMENTS=off, or enable them in the pooler"
                " (PgBouncer 1.21 or later: max_prepared_statements)"
            )


def _server_limits(timeout: float) -> str:
    return " ".join(f"-c {name}={int(timeout * 1000)}" for name in SERVER_LIMITS)


def _loses_prepared_statements(driver: Any, connection: Any) -> bool:
    """Return whether there is a pooler that does not support prepared statements.

    It passes a statement's name on unchanged, and on its next server connection that statement is
    missing, or is another client's. A pooler gives its clients process ids of its own; one that
    supports prepared statements also renames them on the server.
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
        raise driver.OperationalError("the connection broke while a pooler was looked for")
    return bool(is_as_named and int(pid) != libpq.backend_pid)
