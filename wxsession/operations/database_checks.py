"""What the doctor asks the database: whether it can be used, and is well looked after."""

import ipaddress
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, inspect, select, text
from sqlalchemy.exc import DBAPIError

from wxsession.common.clock import Clock
from wxsession.common.wording import Sentence
from wxsession.errors import Overloaded
from wxsession.operations import job_results, purge
from wxsession.operations.findings import Finding, Findings
from wxsession.operations.reseal import Resealing
from wxsession.settings import Settings
from wxsession.storage.database import REVISION_TABLE, SCHEMA_REVISION, Database, metadata
from wxsession.storage.tables import sessions

SAMPLE = 1000
"""How many sealed values of a table are opened, unless it is said."""
_PURGE_EVERY = timedelta(hours=26)
_PURGE_CURE = Sentence("run purge-sessions every day, by cron or a timer")
_OVERDUE = timedelta(days=2)
_APART = timedelta(seconds=5)
_SOME_CLIENTS = 20
_SUPPORTED = 14
_UPGRADE = Sentence("run upgrade-database")

# By the driver's words: a connection that libpq fails to open has no SQLSTATE.
_CURES: Mapping[str, Sentence] = {
    "refused": Sentence("start PostgreSQL, or correct host and port in WXSESSION_DATABASE_URL"),
    "database .* does not exist": Sentence(
        "create it with createdb, or correct WXSESSION_DATABASE_URL"
    ),
    "role .* does not exist": Sentence(
        "create it with createuser, or correct WXSESSION_DATABASE_URL"
    ),
    "password|authentication": Sentence("correct user and password in WXSESSION_DATABASE_URL"),
    "resolve|translate host|not known": Sentence(
        "correct the host in WXSESSION_DATABASE_URL, or the DNS"
    ),
    "timeout|timed out": Sentence("let the firewall pass connections to the database"),
    "too many|connection slots": Sentence(
        "lower WXSESSION_POOL_SIZE, or raise the server's limits"
    ),
    "not a database": Sentence("let WXSESSION_DATABASE_URL name another file"),
    "unable to open": Sentence("let the user of this process write to the file and its folder"),
}


class DatabaseChecks:
    """Examines the database of one server; `host_time` is the clock of this machine."""

    def __init__(
        self,
        database: Database,
        *,
        settings: Settings,
        resealing: Resealing,
        host_time: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._settings = settings
        self._resealing = resealing
        self._host_time = host_time

    def examine(self, *, workers: int, sample: int | None = SAMPLE) -> Findings:
        """Yield what was found; if the database cannot be used, that alone.

        `sample` is how many sealed values of a table are opened, None: all.
        """
        try:
            with self._database.statement() as connection:
                if self._database.is_postgresql:
                    yield from self._of_server(connection, workers)
                else:
                    yield _of_sqlite(connection)
                revision = _revision(connection)
            yield self._of_clock()
            yield _of_schema(revision)
            if revision is None or revision < SCHEMA_REVISION:
                return
            with self._database.statement() as connection:
                yield from _of_indexes(connection)
                yield from self._of_clients(connection)
                yield self._of_overdue(connection)
            yield self._of_purge()
            yield from self._of_sealed(sample)
        except Overloaded as error:
            yield _unusable(error)

    def _of_server(self, connection: Connection, workers: int) -> Findings:
        server = _Server(connection)
        yield server.version()
        yield from server.promises()
        yield from server.vacuum()
        behind_pooler = server.is_behind_pooler()
        if behind_pooler:
            yield from server.pooler(wants_prepared=self._settings.prepared_statements)
        else:
            yield server.connections(workers * self._settings.pool_size)

    def _of_clock(self) -> Finding:
        apart = self._database.now() - self._host_time()
        if abs(apart) <= _APART:
            return Finding("clock", "ok", Sentence("this machine and the database agree"))
        seconds = abs(apart).total_seconds()
        cure = Sentence("set the one that is wrong, and let NTP keep both")
        if abs(apart) > purge.FURTHEST_APART:
            found = Sentence(
                "this machine's clock and the database's differ by {seconds:.0f} seconds:"
                " nothing is purged",
                seconds=seconds,
            )
            return Finding("clock", "fault", found, cure)
        found = Sentence(
            "this machine's clock and the database's differ by {seconds:.0f} seconds",
            seconds=seconds,
        )
        return Finding("clock", "warning", found, cure)

    def _of_clients(self, connection: Connection) -> Findings:
        newest = select(sessions.c.client_address).order_by(sessions.c.id.desc())
        rows = connection.execute(newest.limit(_SOME_CLIENTS)).scalars().all()
        # Some have none: those by way of a back end that a dialect lets ask for its users.
        addresses = [address for address in rows if address is not None]
        if len(addresses) > _SOME_CLIENTS // 2 and all(map(_is_a_proxy, addresses)):
            yield Finding(
                "proxies",
                "fault",
                Sentence(
                    "the last {count} sessions all come from loopback addresses: those of a"
                    " proxy, whose limits everybody shares",
                    count=len(addresses),
                ),
                Sentence(
                    "set WXSESSION_TRUSTED_PROXIES to the number of your proxies, and let them"
                    " send X-Forwarded-For"
                ),
            )
        elif addresses:
            yield Finding("proxies", "ok", Sentence("the sessions have the addresses of clients"))

    def _of_overdue(self, connection: Connection) -> Finding:
        oldest = connection.execute(select(func.min(sessions.c.purge_on))).scalar_one_or_none()
        due = (self._host_time() - self._settings.retention - _OVERDUE).date()
        if oldest is not None and oldest < due:
            found = Sentence(
                "sessions that should be gone are still there, since {oldest}", oldest=oldest
            )
            return Finding("rows", "fault", found, _PURGE_CURE)
        return Finding("rows", "ok", Sentence("no session is overdue"))

    def _of_purge(self) -> Finding:
        done = [
            result.succeeded_at
            for result in job_results.results(self._database)
            if result.job == purge.JOB and result.succeeded_at
        ]
        if not done:
            found = Sentence("no purge has finished yet")
            return Finding("purge", "warning", found, _PURGE_CURE)
        age = self._database.now() - max(done)
        if age > _PURGE_EVERY:
            hours = age // timedelta(hours=1)
            found = Sentence("the last one finished {hours} hours ago", hours=hours)
            return Finding("purge", "fault", found, _PURGE_CURE)
        found = Sentence("finished {moment:%Y-%m-%d %H:%M}Z", moment=max(done))
        return Finding("purge", "ok", found)

    def _of_sealed(self, size: int | None) -> Findings:
        sample = self._resealing.sample(size)
        if sample.unopened:
            yield Finding(
                "sealed values",
                "fault",
                Sentence(
                    "{count} of {all} cannot be opened", count=sample.unopened, all=sample.read
                ),
                Sentence(
                    "add the key that sealed them to WXSESSION_SECRET_KEYS; `keys status` shows"
                    " which"
                ),
            )
        if old := sample.old - sample.unopened:
            yield Finding(
                "sealed values",
                "warning",
                Sentence(
                    "{count} of {all} are under an older key", count=max(old, 0), all=sample.read
                ),
                Sentence("run keys reseal"),
            )
        if not sample.old:
            yield Finding("sealed values", "ok", Sentence("{count} opened", count=sample.read))


class _Server:
    """A server of PostgreSQL, as one connection sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def version(self) -> Finding:
        version, encoding = self._setting("server_version"), self._setting("server_encoding")
        if encoding != "UTF8":
            found = Sentence("its encoding is {encoding}", encoding=encoding)
            cure = Sentence(
                "create another one with --encoding=UTF8 --template=template0, and move to it"
            )
            return Finding("database", "fault", found, cure)
        if int(version.partition(".")[0]) < _SUPPORTED:
            found = Sentence("PostgreSQL {version} is not maintained", version=version)
            cure = Sentence("upgrade to {version} or newer", version=_SUPPORTED)
            return Finding("database", "warning", found, cure)
        return Finding("database", "ok", Sentence("PostgreSQL {version}", version=version))

    def promises(self) -> Findings:
        """Yield what makes the server forget, or refuse, what a client was told is done."""
        if self._setting("transaction_read_only") == "on":
            yield Finding(
                "database",
                "fault",
                Sentence("it takes no writes: a standby, or default_transaction_read_only is on"),
                Sentence(
                    "let WXSESSION_DATABASE_URL lead to the primary:"
                    " target_session_attrs=read-write"
                ),
            )
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            if self._setting(name) == "off":
                yield Finding(
                    "database",
                    "warning" if name == "synchronous_commit" else "fault",
                    Sentence(
                        "{name} is off: a crash of the machine loses sessions that clients have",
                        name=name,
                    ),
                    Sentence("set {name} = on", name=name),
                )

    def vacuum(self) -> Findings:
        """Yield where nobody clears up after updates and deletions."""
        off = [name for name in ("autovacuum", "track_counts") if self._setting(name) == "off"]
        for name in off:
            yield Finding(
                "autovacuum",
                "fault",
                Sentence("{name} is off: the tables grow without end", name=name),
                Sentence("set {name} = on", name=name),
            )
        tables = self._rows(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname = ANY(:names)"
            " AND array_to_string(reloptions, ',') ~ 'autovacuum_enabled=(false|off|0|no)'",
            names=list(metadata.tables),
        )
        for (table,) in tables:
            yield Finding(
                "autovacuum",
                "fault",
                Sentence("it is off for {table}: the table grows without end", table=table),
                Sentence("run ALTER TABLE {table} RESET (autovacuum_enabled)", table=table),
            )
        if not off and not tables:
            yield Finding("autovacuum", "ok", Sentence("on"))

    def is_behind_pooler(self) -> bool:
        """Return whether a pooler stands before the server: it gives out process ids of its own."""
        ((pid,),) = self._rows("SELECT pg_backend_pid()")
        return bool(pid != self._driver.info.backend_pid)

    def pooler(self, *, wants_prepared: bool) -> Findings:
        """Yield what a pooler does not pass on."""
        whole = True
        if wants_prepared and self._driver.prepare_threshold is None:
            whole = False
            yield Finding(
                "pooler",
                "warning",
                Sentence("the pooler before the database does not support prepared statements"),
                Sentence(
                    "set max_prepared_statements in PgBouncer (1.21 or newer), or"
                    " WXSESSION_PREPARED_STATEMENTS=off"
                ),
            )
        if self._setting("statement_timeout") == "0":
            whole = False
            yield Finding(
                "pooler",
                "warning",
                Sentence("statements have no time limit on the server"),
                Sentence(
                    "run ALTER ROLE … SET statement_timeout = '5s', and the same for lock_timeout"
                ),
            )
        if whole:
            yield Finding("pooler", "ok", Sentence("passes on what is needed"))

    def connections(self, wanted: int) -> Finding:
        """Return whether the server lets all workers open what they may."""
        reserved = int(self._setting("superuser_reserved_connections"))
        limits: dict[str, int] = {
            "max_connections": int(self._setting("max_connections")) - reserved
        }
        ((role, database),) = self._rows(
            "SELECT rolconnlimit, datconnlimit FROM pg_roles, pg_database"
            " WHERE rolname = current_user AND datname = current_database()"
        )
        limits |= {Sentence("the role's limit"): role} if role >= 0 else {}
        limits |= {Sentence("the database's limit"): database} if database >= 0 else {}
        name = min(limits, key=limits.__getitem__)
        if limits[name] < wanted:
            return Finding(
                "connections",
                "fault",
                Sentence(
                    "the workers may open {wanted}, and {limit} leaves {left}",
                    wanted=wanted,
                    limit=name,
                    left=limits[name],
                ),
                Sentence("lower WXSESSION_POOL_SIZE or the number of workers, or raise the limit"),
            )
        found = Sentence("up to {wanted} of {limit}", wanted=wanted, limit=limits[name])
        return Finding("connections", "ok", found)

    @property
    def _driver(self) -> Any:
        return self._connection.connection.driver_connection

    def _setting(self, name: str) -> str:
        ((value,),) = self._rows("SELECT current_setting(:name)", name=name)
        return str(value)

    def _rows(self, statement: str, **values: object) -> list[Any]:
        return list(self._connection.execute(text(statement), values).all())


def _of_sqlite(connection: Connection) -> Finding:
    version = connection.execute(text("SELECT sqlite_version()")).scalar_one()
    return Finding("database", "ok", Sentence("SQLite {version}", version=version))


def _revision(connection: Connection) -> str | None:
    found = inspect(connection)
    if not found.has_table(REVISION_TABLE):
        return None
    query = text(f"SELECT max(version_num) FROM {REVISION_TABLE}")  # noqa: S608 - a constant
    revision: str | None = connection.execute(query).scalar_one()
    return revision


def _of_schema(revision: str | None) -> Finding:
    if revision is None:
        return Finding("schema", "fault", Sentence("there is none"), _UPGRADE)
    if revision < SCHEMA_REVISION:
        found = Sentence("it is old: {revision}", revision=revision)
        return Finding("schema", "fault", found, _UPGRADE)
    if revision > SCHEMA_REVISION:
        found = Sentence("it is newer than this version: {revision}", revision=revision)
        cure = Sentence("install the newest version here as well")
        return Finding("schema", "warning", found, cure)
    return Finding("schema", "ok", Sentence("{revision}", revision=revision))


def _of_indexes(connection: Connection) -> Findings:
    # All tables in one query: one for each would take a quarter of a second.
    of_tables = inspect(connection).get_multi_indexes(filter_names=list(metadata.tables))
    present = {one["name"] for indexes in of_tables.values() for one in indexes}
    missing = [
        str(index.name)
        for table in metadata.tables.values()
        for index in table.indexes
        if index.name not in present
    ]
    for name in missing:
        found = Sentence("{name} is missing: what needs it is slow", name=name)
        cure = Sentence(
            "create it as in migrations/versions, or restore the database from a backup"
        )
        yield Finding("indexes", "fault", found, cure)
    if connection.dialect.name == "postgresql":
        invalid = connection.execute(
            text(
                "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON oid = indexrelid"
                " WHERE NOT indisvalid AND relname ~ '^(ix|pk|uq)_wxsession_'"
            )
        )
        for name in invalid.scalars():
            missing.append(name)
            found = Sentence("{name} is not valid", name=name)
            cure = Sentence("run REINDEX INDEX {name}", name=name)
            yield Finding("indexes", "fault", found, cure)
    if not missing:
        yield Finding("indexes", "ok", Sentence("all there"))


def _is_a_proxy(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _unusable(error: Overloaded) -> Finding:
    cause = error.__cause__
    if cause is None:
        said: str = Sentence("no answer in time")
    else:
        told = str(cause.orig if isinstance(cause, DBAPIError) else cause)
        said = told.strip().replace("\n", "; ")
    cures = (cure for words, cure in _CURES.items() if re.search(words, said, re.IGNORECASE))
    cure = next(cures, Sentence("see the log of the database"))
    return Finding("database", "fault", Sentence("it cannot be used: {said}", said=said), cure)
