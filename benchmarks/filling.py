"""Many sessions in our own tables, fast; and tokens for some of them, spread over all.

Every session has a user with an identity; beyond a million, users have several. They were made
during the last week, one after the other, as their ids say. All will be live for seven days more.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from threading import Lock
from uuid import UUID

from sqlalchemy import Connection, bindparam, text, update

from benchmarks.load import Request
from tests.support.settings import APPID, settings_for
from wxsession.common.crypto import SecretKeys
from wxsession.sessions.tokens import TokenSigner
from wxsession.storage.database import Database, connect
from wxsession.storage.migrate import upgrade
from wxsession.storage.tables import sessions

MOST_USERS = 1_000_000
OPENID = "o{:027d}"
"""The openid of each user, by its number."""

# A UUIDv7: 48 bits of milliseconds; a letter tells users, identities and sessions apart.
_PG_ID = """
(lpad(to_hex({now} - 604800000 + {i}::bigint * 604800000 / {n}), 12, '0')
 || '7{letter}008' || lpad(to_hex({i}), 15, '0'))::uuid
"""
_POSTGRESQL = (
    "SET LOCAL session_replication_role = replica",  # spares looking up what was just inserted
    "SET LOCAL maintenance_work_mem = '1GB'",
    """
    INSERT INTO wxsession_users (id, created_at)
    SELECT {user}, now() FROM generate_series(0, :users - 1) AS i
    """,
    """
    INSERT INTO wxsession_identities (id, user_id, provider, appid, openid, created_at)
    SELECT {identity}, {user}, 'wechat', :appid, 'o' || lpad(i::text, 27, '0'), now()
    FROM generate_series(0, :users - 1) AS i
    """,
    """
    INSERT INTO wxsession_sessions (id, user_id, identity_id, token_hash, created_at, auth_time,
                                    absolute_expires_at, idle_expires_at, purge_on,
                                    client_address, user_agent)
    SELECT {session}, {user_of}, {identity_of}, sha256(i::text::bytea), now(), now(),
           now() + interval '30 days', now() + interval '7 days',
           (now() AT TIME ZONE 'UTC')::date + 7, '203.0.113.9', 'Mozilla/5.0 MicroMessenger/8.0'
    FROM generate_series(0, :sessions - 1) AS i
    """,
)
_SQLITE_ID = """
printf('%012x7{letter}008%015x', {now} - 604800000 + {i} * 604800000 / {n}, {i})
"""
_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :{count}) "
_SQLITE = (
    "PRAGMA defer_foreign_keys = ON",
    "INSERT INTO wxsession_users (id, created_at) "
    + _NUMBERS.format(count="users")
    + "SELECT {user}, {moment0} FROM n",
    "INSERT INTO wxsession_identities (id, user_id, provider, appid, openid, created_at) "
    + _NUMBERS.format(count="users")
    + "SELECT {identity}, {user}, 'wechat', :appid, printf('o%027d', i), {moment0} FROM n",
    "INSERT INTO wxsession_sessions (id, user_id, identity_id, token_hash, created_at, auth_time,"
    " absolute_expires_at, idle_expires_at, purge_on, client_address, user_agent) "
    + _NUMBERS.format(count="sessions")
    + "SELECT {session}, {user_of}, {identity_of}, randomblob(32), {moment0}, {moment0},"
    " {moment30}, {moment7}, date('now', '+7 days'), '203.0.113.9',"
    " 'Mozilla/5.0 MicroMessenger/8.0' FROM n",
)

_OF_ALL = """
WITH {more}known AS (
    SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM wxsession_users
)
"""
_EXPIRED_POSTGRESQL = (
    "SET LOCAL session_replication_role = replica",
    """
    INSERT INTO wxsession_sessions (id, user_id, token_hash, created_at, auth_time,
                                    absolute_expires_at, idle_expires_at, purge_on)
    """
    + _OF_ALL.format(more="")
    + """
    SELECT {session}, known.id, sha256(i::text::bytea), moment, moment, moment, moment,
           (moment AT TIME ZONE 'UTC')::date
    FROM generate_series(1, :count) AS i
    JOIN known ON place = i % :users,
    LATERAL (SELECT now() - interval '{days} days' - (:count - i) * interval '100 ms') AS o(moment)
    ORDER BY i
    """,
)
_EXPIRED_SQLITE = (
    "INSERT INTO wxsession_sessions (id, user_id, token_hash, created_at, auth_time,"
    " absolute_expires_at, idle_expires_at, purge_on) "
    + _OF_ALL.format(
        more="RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count), "
    )
    + "SELECT {session}, known.id, randomblob(32), {moment}, {moment}, {moment}, {moment},"
    " date('now', '-{days} days') FROM n JOIN known ON place = i % :users ORDER BY i",
)
_DAY = 24 * 60 * 60 * 1000

_migrating = Lock()  # two databases are filled at once, and Alembic knows one context


def migrate(url: str) -> None:
    """Give a database our tables."""
    with _migrating, _database(url) as database:
        upgrade(database)


def fill(url: str, count: int) -> None:
    """Give an empty, migrated database so many live sessions."""
    users = min(count, MOST_USERS)
    with _database(url) as database, database.long_transaction() as connection:
        now = _now(connection, is_postgresql=database.is_postgresql)
        form = _PG_ID if database.is_postgresql else _SQLITE_ID

        def id_of(letter: str, number: str, of: int) -> str:
            return form.format(now=now, i=number, n=of, letter=letter)

        names = {
            "user": id_of("a", "i", users),
            "identity": id_of("b", "i", users),
            "user_of": id_of("a", f"(i % {users})", users),
            "identity_of": id_of("b", f"(i % {users})", users),
            "session": id_of("c", "i", count),
            **{f"moment{days}": _sqlite_moment(days) for days in (0, 7, 30)},
        }
        given = {"users": users, "sessions": count, "appid": APPID}
        for index in sessions.indexes:  # to make them of everything at once takes a tenth
            index.drop(connection)
        for statement in _POSTGRESQL if database.is_postgresql else _SQLITE:
            _execute(connection, statement.format(**names), given)
        for index in sessions.indexes:
            index.create(connection)


def present(url: str, count: int) -> list[str]:
    """Return working tokens of so many sessions, as far apart as they can be.

    What was refreshed or ended is as it was made.
    """
    signer = TokenSigner(SecretKeys(settings_for(url).secret_keys))
    with _database(url) as database, database.long_transaction() as connection:
        ids = _spread(connection, count)
        tokens = [signer.draw(id_) for id_ in ids]
        connection.execute(
            update(sessions)
            .where(sessions.c.id == bindparam("which"))
            .values(
                token_hash=bindparam("hash"),
                rotated_at=None,
                confirmed_at=None,
                ended_at=None,
                end_reason=None,
                purge_on=datetime.now(UTC).date() + timedelta(days=7),
            ),
            [{"which": token.session_id, "hash": token.hash} for token in tokens],
        )
    return [signer.dump(token) for token in tokens]


def add_expired(url: str, count: int, *, ago: timedelta) -> None:
    """Add sessions that nobody can use any more, of all users in turn, made one after the other."""
    days = ago.days
    with _database(url) as database, database.long_transaction() as connection:
        now = _now(connection, is_postgresql=database.is_postgresql) - 2 * days * _DAY
        form = _PG_ID if database.is_postgresql else _SQLITE_ID
        names = {
            "session": form.format(now=now, i="i", n=count, letter="d"),
            "days": days,
            "moment": _sqlite_moment(-days),
        }
        users = connection.execute(text("SELECT count(*) FROM wxsession_users")).scalar_one()
        given = {"users": users, "count": count}
        for statement in _EXPIRED_POSTGRESQL if database.is_postgresql else _EXPIRED_SQLITE:
            _execute(connection, statement.format(**names), given)


def bearers(tokens: list[str]) -> list[Request]:
    """Return the requests that present tokens."""
    return [Request({"Authorization": f"Bearer {token}"}) for token in tokens]


def _execute(connection: Connection, statement: str, given: Mapping[str, object]) -> None:
    made = text(statement.replace("::", r"\:\:"))  # colons of casts are none of a parameter
    wanted = {name: given[name] for name in made._bindparams}  # noqa: SLF001
    connection.execute(made, wanted)


def _spread(connection: Connection, count: int) -> list[UUID]:
    ordered = "SELECT id, row_number() OVER (ORDER BY id) AS place FROM wxsession_sessions"
    total = connection.execute(text("SELECT count(*) FROM wxsession_sessions")).scalar_one()
    step = max(1, total // count)
    query = text(f"SELECT id FROM ({ordered}) AS o WHERE place % :step = 0 LIMIT :count")
    rows = connection.execute(query, {"step": step, "count": count}).scalars()
    return [row if isinstance(row, UUID) else UUID(row) for row in rows]


def _now(connection: Connection, *, is_postgresql: bool) -> int:
    query = (
        "SELECT (extract(epoch FROM now()) * 1000)\\:\\:bigint"
        if is_postgresql
        else "SELECT CAST(strftime('%s', 'now') AS INTEGER) * 1000"
    )
    milliseconds: int = connection.execute(text(query)).scalar_one()
    return milliseconds


def _sqlite_moment(days: int) -> str:
    return f"strftime('%Y-%m-%d %H\\:%M\\:%f000', 'now', '{days:+} days')"


@contextmanager
def _database(url: str) -> Iterator[Database]:
    with closing(connect(url)) as database:
        yield database
