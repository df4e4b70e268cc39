"""A population of users as an operator has it, on PostgreSQL, filled as fast as it goes.

Sessions lived for a week and are kept for another: of the last fifteen days, a day's worth is due.
Events are kept for 190 days, and there are 191. One user has many sessions, all of them live, and
as many events. Some session_keys and phone numbers are sealed with an older key than the newest.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import psycopg
from sqlalchemy import Connection, bindparam, select, text, update

from benchmarks.database import Postgres
from benchmarks.filling import OPENID, migrate
from tests.support.settings import APPID, SECRET_KEY
from wxsession.common.crypto import Sealer, SecretKeys
from wxsession.sessions.tokens import TokenSigner
from wxsession.storage.database import connect
from wxsession.storage.tables import (
    audit_events,
    has_enabled_user,
    identities,
    is_live,
    session_keys,
    sessions,
    users,
)
from wxsession.users.phone_numbers import PhoneNumber, PhoneNumbers
from wxsession.wechat.session_keys import column_of_slot

NEW_KEY: Final = "a-newer-key-that-is-made-up-for-the-benchmark"
KEYS: Final = f"{SECRET_KEY},{NEW_KEY}"
USER_AGENT: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like"
    " Gecko) Mobile/15E148 MicroMessenger/8.0.50(0x18003237) NetType/WIFI Language/zh_CN"
)
"""What a mini-program on a phone sends, and so what sessions and events have."""

_DISABLED: Final = 1000
_TABLES: Final = (users, identities, sessions, audit_events)

# A UUIDv7 of a moment; a letter tells the kinds of rows apart.
_ID = """
(lpad(to_hex((extract(epoch FROM {at}) * 1000)::bigint), 12, '0')
 || '7{letter}008' || lpad(to_hex({number}), 15, '0'))::uuid
"""
_BORN = "(now() - interval '1 year' * (1 - {i}::float8 / :users))"
_BEGUN = "(now() - interval '15 days' * (1 - {i}::float8 / :sessions))"
_OCCURRED = "(now() - interval '191 days' * (1 - {i}::float8 / :events))"


def _id(letter: str, number: str, at: str) -> str:
    return _ID.format(letter=letter, number=number, at=at)


_USER = _id("a", "i", _BORN.format(i="i"))
_IDENTITY = _id("b", "i", _BORN.format(i="i"))
# In another order than they were born: whoever uses the service is of any age.
_SOME = "(i::bigint * 7919 % :users)"
_ITS_USER = _id("a", _SOME, _BORN.format(i=_SOME))
_ITS_IDENTITY = _id("b", _SOME, _BORN.format(i=_SOME))
_ADDRESS = f"'10.' || {_SOME} / 65536 || '.' || {_SOME} / 256 % 256 || '.' || {_SOME} % 256"

_SESSION_COLUMNS = """
INSERT INTO wxsession_sessions (id, user_id, identity_id, token_hash, created_at, auth_time,
                                absolute_expires_at, idle_expires_at, purge_on, client_address,
                                user_agent)
"""
_EVENT_COLUMNS = """
INSERT INTO wxsession_events (id, at, event, reason, user_id, session_id, appid, client_address,
                              user_agent, request_id, recorded_at)
"""
_TIMES = """
begun, begun, begun + interval '30 days', begun + interval '7 days',
((begun + interval '7 days') AT TIME ZONE 'UTC')::date
"""
_STATEMENTS: Final = (
    f"""
    INSERT INTO wxsession_users (id, username, nickname, phone_number_hash, disabled_at, created_at)
    SELECT {_USER}, CASE WHEN i % 5 = 0 THEN 'user-' || i END, 'name-' || i,
           CASE WHEN i % 2 = 0 THEN sha256(i::text::bytea) END,
           CASE WHEN i % {_DISABLED} = {_DISABLED} - 1 THEN now() END, {_BORN.format(i="i")}
    FROM generate_series(0, :users - 1) AS i
    """,
    f"""
    INSERT INTO wxsession_identities (id, user_id, provider, appid, openid, unionid, created_at)
    SELECT {_IDENTITY}, {_USER}, 'wechat', :appid, 'o' || lpad(i::text, 27, '0'),
           'u' || lpad(i::text, 27, '0'), {_BORN.format(i="i")}
    FROM generate_series(0, :users - 1) AS i
    """,
    f"""
    {_SESSION_COLUMNS}
    SELECT {_id("c", "i", "begun")}, {_ITS_USER}, {_ITS_IDENTITY}, sha256(i::text::bytea),
           {_TIMES}, {_ADDRESS}, :user_agent
    FROM generate_series(0, :sessions - 1) AS i, LATERAL (SELECT {_BEGUN.format(i="i")}) AS o(begun)
    """,
    f"""
    {_SESSION_COLUMNS}
    SELECT {_id("d", "i", "begun")}, :heavy_user, :heavy_identity, sha256(i::text::bytea),
           {_TIMES}, '10.99.99.99', :user_agent
    FROM generate_series(0, :heavy - 1) AS i,
         LATERAL (SELECT now() - interval '6 days' * (1 - i::float8 / :heavy)) AS o(begun)
    """,
    f"""
    {_EVENT_COLUMNS}
    SELECT {_id("e", "i", "at")}, at, event,
           CASE event WHEN 'login.failed' THEN 'invalid_code'
                      WHEN 'session.ended' THEN 'logout' END,
           CASE WHEN event <> 'login.failed' THEN {_ITS_USER} END,
           CASE WHEN event LIKE 'session.%' THEN {_id("c", "i", "at")} END, :appid,
           {_ADDRESS}, :user_agent, {_id("f", "i", "at")}::text, at
    FROM generate_series(0, :events - 1) AS i,
         LATERAL (SELECT {_OCCURRED.format(i="i")},
                         CASE WHEN i % 9999 = 0 THEN 'user.disabled'
                              WHEN i % 50 = 0 THEN 'login.failed'
                              WHEN i % 3 = 0 THEN 'session.ended'
                              ELSE 'session.created' END) AS o(at, event)
    """,
    f"""
    {_EVENT_COLUMNS}
    SELECT {_id("e", "i + :events", "at")}, at, 'session.created', NULL, :heavy_user,
           {_id("d", "i", "at")}, :appid, '10.99.99.99', :user_agent,
           {_id("f", "i", "at")}::text, at
    FROM generate_series(0, :heavy - 1) AS i,
         LATERAL (SELECT now() - interval '180 days' * (1 - i::float8 / :heavy)) AS o(at)
    """,
)
_IDENTITY_OF = "SELECT id, user_id FROM wxsession_identities WHERE openid = :openid"


@dataclass(frozen=True)
class Population:
    """How many there are of what."""

    users: int
    heavy: int
    """The sessions of one user, and the events."""
    sealed: int
    """Session_keys, and phone numbers as many, under the older key."""

    @property
    def sessions(self) -> int:
        """The sessions of all others."""
        return 3 * self.users

    @property
    def events(self) -> int:
        """The events of all others."""
        return 3 * self.users

    def __str__(self) -> str:
        """Return it in the words of the page."""
        return (
            f"{self.users:,} users, {self.sessions:,} sessions and {self.events:,} events; one more"
            f" user with {self.heavy:,} live sessions and events; {self.sealed:,} session_keys and"
            " as many phone numbers"
        )


@dataclass(frozen=True)
class Known:
    """By what some of them are found."""

    heavy_user: UUID
    user: UUID
    session: UUID
    event: UUID


def is_disabled(number: int) -> bool:
    """Return whether the user with this number is disabled: one of a thousand is."""
    return number % _DISABLED == _DISABLED - 1


def populate(postgres: Postgres, name: str, population: Population) -> Known:
    """Make a database with a population; return some of it."""
    postgres.create_database(name)
    url = postgres.url(name)
    migrate(url)
    with closing(connect(url)) as database:
        with database.long_transaction() as connection:
            _fill(connection, population)
        with database.long_transaction() as connection:
            _seal(connection, postgres.plain_url(name), population.sealed)
        postgres.vacuum(name)
        with database.long_transaction() as connection:
            return _known(connection, population)


def _fill(connection: Connection, population: Population) -> None:
    given: dict[str, Any] = {
        "users": population.users,
        "sessions": population.sessions,
        "events": population.events,
        "heavy": population.heavy,
        "appid": APPID,
        "user_agent": USER_AGENT,
    }
    connection.execute(text("SET LOCAL session_replication_role = replica"))
    connection.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
    # What was emptied in the same transaction needs no WAL, if the server has no replica.
    names = ", ".join(table.name for table in _TABLES)
    connection.execute(text(f"TRUNCATE {names} CASCADE"))
    for table in _TABLES:
        for index in table.indexes:
            index.drop(connection)
    for statement in _STATEMENTS:
        if ":heavy_user" in statement and "heavy_user" not in given:
            its = {"openid": OPENID.format(population.users // 2)}
            row = connection.execute(text(_IDENTITY_OF), its).one()
            given |= {"heavy_user": row.user_id, "heavy_identity": row.id}
        made = text(statement.replace("::", r"\:\:"))
        wanted = {key: given[key] for key in made._bindparams}  # noqa: SLF001
        connection.execute(made, wanted)
    for table in _TABLES:
        for index in table.indexes:
            index.create(connection)


def _seal(connection: Connection, url: str, count: int) -> None:
    """Give some WeChat users a session_key, and their users a phone number."""
    keys = SecretKeys([SECRET_KEY])
    sealer = Sealer(keys)
    phones = PhoneNumbers(sealer, keys)
    query = text("SELECT id, user_id FROM wxsession_identities ORDER BY id LIMIT :count")
    rows = connection.execute(query, {"count": count}).all()
    its_keys = (
        (row.id, 0, sealer.seal(bytes(24), row=row.id, column=column_of_slot(0)), "now")
        for row in rows
    )
    its_phones = (
        (row.user_id, *phones.columns(PhoneNumber(f"1{n:010d}", "86"), row.user_id).values())
        for n, row in enumerate(rows)
    )
    with psycopg.connect(url) as other:
        _copy(other, session_keys.name, ("identity_id", "slot", "sealed", "obtained_at"), its_keys)
        other.execute("CREATE TEMP TABLE numbers (id uuid, sealed bytea, hash bytea)")
        _copy(other, "numbers", ("id", "sealed", "hash"), its_phones)
        other.execute(
            "UPDATE wxsession_users AS u SET phone_number_sealed = n.sealed,"
            " phone_number_hash = n.hash FROM numbers AS n WHERE n.id = u.id"
        )


def _copy(
    connection: psycopg.Connection, table: str, names: Sequence[str], rows: Iterator[Sequence[Any]]
) -> None:
    command = f"COPY {table} ({', '.join(names)}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(command.encode()) as copy:
        for row in rows:
            copy.write_row(row)


def _known(connection: Connection, population: Population) -> Known:
    def one(query: str) -> UUID:
        found: UUID = connection.execute(text(query)).scalar_one()
        return found

    heavy = {"openid": OPENID.format(population.users // 2)}
    return Known(
        heavy_user=connection.execute(text(_IDENTITY_OF), heavy).one().user_id,
        user=one("SELECT id FROM wxsession_users ORDER BY id OFFSET 70 LIMIT 1"),
        session=one("SELECT id FROM wxsession_sessions ORDER BY id DESC OFFSET 50 LIMIT 1"),
        event=one("SELECT id FROM wxsession_events ORDER BY at DESC OFFSET 50 LIMIT 1"),
    )


def present(url: str, count: int) -> list[str]:
    """Return working tokens of so many live sessions, drawn from all of them."""
    signer = TokenSigner(SecretKeys([SECRET_KEY]))
    c = sessions.c
    with closing(connect(url)) as database, database.long_transaction() as connection:
        later = datetime.now(UTC) + timedelta(hours=1)
        live = select(c.id).where(is_live(later), has_enabled_user())
        ids = connection.execute(live.order_by(c.token_hash).limit(count)).scalars().all()
        tokens = [signer.draw(id_) for id_ in ids]
        connection.execute(
            update(sessions).where(c.id == bindparam("which")).values(token_hash=bindparam("hash")),
            [{"which": token.session_id, "hash": token.hash} for token in tokens],
        )
    return [signer.dump(token) for token in tokens]
