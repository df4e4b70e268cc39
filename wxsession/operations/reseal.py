"""Resealing: what lies under an older server key comes under the newest one.

Afterwards the older key may be removed. Each batch is a transaction of its own, in the order of
the primary key, and locks the rows that it reads: this may be stopped at any time and run again,
several times at once, while the server is at work.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Row,
    Select,
    Table,
    Update,
    bindparam,
    func,
    literal,
    select,
    tuple_,
    update,
)

from wxsession.common.crypto import Sealer, Unsealable
from wxsession.operations.admins.signing_in import TOTP_COLUMN
from wxsession.operations.job_results import record, replace
from wxsession.storage.database import Database, retry_on_disconnect
from wxsession.storage.tables import access_tokens, admins, session_keys, users
from wxsession.users.phone_numbers import PhoneNumbers
from wxsession.wechat.session_keys import column_of_slot

_PAGE = 10_000
_LOOKED_THROUGH = 100
SEALED = "sealed_values"
"""Under this name stands how many values each key had sealed when they were last counted."""


class Resealed(NamedTuple):
    """How many values a run resealed, and how many it left because no server key opens them."""

    resealed: int
    unopened: int


class KeyUse(NamedTuple):
    """How many values lie under a server key.

    `number` is its position in WXSESSION_SECRET_KEYS, from 1; None for a key that is not there.
    """

    number: int | None
    key_id: str
    session_keys: int
    phone_numbers: int
    access_tokens: int
    second_factors: int


class Sample(NamedTuple):
    """How many values were read, and how many of them no key opens or an older one has sealed."""

    read: int
    unopened: int
    old: int


class Resealing:
    """Brings everything that is sealed in the database under the newest server key."""

    def __init__(self, database: Database, sealer: Sealer, phones: PhoneNumbers) -> None:
        self._database = database
        self._sealer = sealer
        self._phones = phones

    def status(self, *, progress: Callable[[int], None] = lambda _done: None) -> list[KeyUse]:
        """Return what lies under which key: those of the settings, then any other.

        `progress` is told how many values are counted; if it raises, no count is stored.

        Raises:
            Overloaded: the database did not answer in time.
        """
        counts = [
            self._count_by_key(table, column, progress)
            for table, column in (
                (session_keys, session_keys.c.sealed),
                (users, users.c.phone_number_sealed),
                (access_tokens, access_tokens.c.sealed),
                (admins, admins.c.totp_sealed),
            )
        ]
        known = self._sealer.key_ids
        unknown = sorted(set().union(*counts) - set(known))
        numbered: list[tuple[int | None, bytes]] = [*enumerate(known, 1)]
        numbered += [(None, key_id) for key_id in unknown]
        uses = [
            KeyUse(number, key_id.hex(), *(count[key_id] for count in counts))
            for number, key_id in numbered
        ]
        totals: Counter[str] = Counter()
        for use in uses:
            lasting = use.session_keys + use.phone_numbers + use.second_factors
            totals[str(use.number or "unknown")] += lasting
        replace(self._database, SEALED, totals)
        return uses

    def run(self, *, batch_size: int, progress: Callable[[int], None]) -> Resealed:
        """Reseal what lies under an older key, reporting after each batch how many values so far.

        What no server key opens stays as it is.

        Raises:
            Overloaded: the database did not answer in time.
        """
        self._forget_access_tokens()
        keys = self._reseal(
            session_keys, session_keys.c.sealed, self._session_key, batch_size, progress
        )
        phones = self._reseal(
            users,
            users.c.phone_number_sealed,
            self._phone_number,
            batch_size,
            lambda done: progress(keys.resealed + done),
        )
        factors = self._reseal(
            admins,
            admins.c.totp_sealed,
            self._second_factor,
            batch_size,
            lambda done: progress(keys.resealed + phones.resealed + done),
        )
        parts = {"session_keys": keys, "phone_numbers": phones, "second_factors": factors}
        done = Resealed(
            sum(part.resealed for part in parts.values()),
            sum(part.unopened for part in parts.values()),
        )
        counts = {name: part.resealed for name, part in parts.items()}
        record(self._database, "reseal", counts, complete=not done.unopened)
        self.status()
        return done

    def sample(self, size: int | None) -> "Sample":
        """Return how many of the newest values open: at most `size` in a table, or all.

        For so many values, no more than `_LOOKED_THROUGH` times as many rows are read: most users
        may have no phone number.

        Raises:
            Overloaded: the database did not answer in time.
        """
        found: Counter[str] = Counter()
        for table, column, open_ in (
            (session_keys, session_keys.c.sealed, self._opens_session_key),
            (users, users.c.phone_number_sealed, self._opens_phone_number),
            (admins, admins.c.totp_sealed, lambda row: self._second_factor(row) is not None),
        ):
            key = tuple(table.primary_key.columns)
            newest_first = [one.desc() for one in key]
            query = select(table).where(column.is_not(None)).order_by(*newest_first)
            if size is not None:
                newest = (
                    select(*key).order_by(*newest_first).offset(_LOOKED_THROUGH * size).limit(1)
                )
                with self._database.statement() as connection:
                    end = connection.execute(newest).first()
                if end is not None:
                    query = query.where(tuple_(*key) > tuple_(*end))
            last, left = None, size
            while left is None or left > 0:
                page = query.limit(_PAGE if left is None else min(left, _PAGE))
                if last is not None:
                    page = page.where(tuple_(*key) < tuple_(*(getattr(last, k.name) for k in key)))
                with self._database.statement() as connection:
                    rows = connection.execute(page).all()
                if not rows:
                    break
                for row in rows:
                    sealed = bytes(getattr(row, column.name))
                    found["read"] += 1
                    found["unopened"] += not open_(row)
                    found["old"] += not sealed.startswith(self._sealer.newest)
                last, left = rows[-1], None if left is None else left - len(rows)
        return Sample(found["read"], found["unopened"], found["old"])

    def _forget_access_tokens(self) -> None:
        # They live for two hours at most, and WeChat gives out another one for the asking. The
        # claim of a worker that is asking right now stays.
        stale = update(access_tokens).where(self._is_stale(access_tokens.c.sealed))
        with self._database.statement() as connection:
            connection.execute(stale.values(sealed=None, expires_at=None))

    def _reseal(
        self,
        table: Table,
        column: Column[bytes],
        resealed: Callable[[Row[Any]], dict[str, bytes] | None],
        batch_size: int,
        progress: Callable[[int], None],
    ) -> Resealed:
        """Replace a column's stale values; `resealed` makes a row's new ones, None if it cannot.

        A page at a time: to look for what is stale in all that follows could read the whole table.
        """
        key = tuple(table.primary_key.columns)
        query = select(table).where(self._is_stale(column)).order_by(*key).limit(batch_size)
        # A locked row is waited for: a login locks its user without writing the number.
        query = query.with_for_update()
        done, unopened, last = 0, 0, None
        while (end := self._end_of_page(key, last)) is not None:
            page, is_full = query.where(tuple_(*key) <= tuple_(*_key_of(end, key))), True
            while is_full:
                batch = partial(self._batch, table, _after(last, key, page), resealed)
                rows, count = retry_on_disconnect(batch)
                done, unopened = done + count, unopened + len(rows) - count
                is_full = len(rows) == batch_size
                if rows:
                    last = rows[-1]
                    progress(done)
            last = end
        return Resealed(done, unopened)

    def _batch(
        self,
        table: Table,
        query: Select[Any],
        resealed: Callable[[Row[Any]], dict[str, bytes] | None],
    ) -> tuple[Sequence[Row[Any]], int]:
        """Return the rows of a batch, and how many of them were resealed."""
        with self._database.transaction() as connection:
            rows = connection.execute(query).all()
            new = [(row, values) for row in rows if (values := resealed(row))]
            if new:
                connection.execute(*_update_of_each(table, new))
        return rows, len(new)

    def _end_of_page(self, key: Sequence[Column[Any]], last: Row[Any] | None) -> Row[Any] | None:
        """Return the key of the last row of the page after a row, None if nothing follows it."""
        page = _after(last, key, select(*key).order_by(*key).limit(_PAGE)).subquery()
        newest = select(page).order_by(*(column.desc() for column in page.columns)).limit(1)
        with self._database.statement() as connection:
            return connection.execute(newest).first()

    def _count_by_key(
        self, table: Table, column: Column[bytes], progress: Callable[[int], None]
    ) -> Counter[bytes]:
        """Return how many values of a column begin with which key id, a page at a time."""
        key = tuple(table.primary_key.columns)
        key_id = func.substr(column, 1, len(self._sealer.newest))
        query = select(key_id, func.count()).where(column.is_not(None)).group_by(key_id)
        counts, last = Counter[bytes](), None
        while (end := self._end_of_page(key, last)) is not None:
            page = _after(last, key, query.where(tuple_(*key) <= tuple_(*_key_of(end, key))))
            with self._database.statement() as connection:
                for found, count in connection.execute(page):
                    counts[bytes(found)] += count
            last = end
            progress(counts.total())
        return counts

    def _opens_session_key(self, row: Row[Any]) -> bool:
        try:
            self._sealer.open(
                bytes(row.sealed), row=row.identity_id, column=column_of_slot(row.slot)
            )
        except Unsealable:
            return False
        return True

    def _opens_phone_number(self, row: Row[Any]) -> bool:
        return self._phones.open(row.phone_number_sealed, row.id) is not None

    def _session_key(self, row: Row[Any]) -> dict[str, bytes] | None:
        where = {"row": row.identity_id, "column": column_of_slot(row.slot)}
        try:
            opened = self._sealer.open(bytes(row.sealed), **where)
        except Unsealable:
            return None
        return {"sealed": self._sealer.seal(opened, **where)}

    def _phone_number(self, row: Row[Any]) -> dict[str, bytes] | None:
        # The hash that finds a number is made with a server key as well, so both change at once.
        phone = self._phones.open(row.phone_number_sealed, row.id)
        return None if phone is None else self._phones.columns(phone, row.id)

    def _second_factor(self, row: Row[Any]) -> dict[str, bytes] | None:
        try:
            opened = self._sealer.open(bytes(row.totp_sealed), row=row.id, column=TOTP_COLUMN)
        except Unsealable:
            return None
        return {"totp_sealed": self._sealer.seal(opened, row=row.id, column=TOTP_COLUMN)}

    def _is_stale(self, column: Column[bytes]) -> ColumnElement[bool]:
        """Return the condition that a value is there, and under another key than the newest."""
        newest = self._sealer.newest
        return func.substr(column, 1, len(newest)) != newest


def _after(last: Row[Any] | None, key: Sequence[Column[Any]], query: Select[Any]) -> Select[Any]:
    """Return the query for what comes after a row in the order of the key, or from the start."""
    if last is None:
        return query
    return query.where(tuple_(*key) > tuple_(*_key_of(last, key)))


def _key_of(row: Row[Any], key: Sequence[Column[Any]]) -> tuple[ColumnElement[Any], ...]:
    return tuple(literal(getattr(row, one.name), one.type) for one in key)


def _update_of_each(
    table: Table, new: Sequence[tuple[Row[Any], Mapping[str, bytes]]]
) -> tuple[Update, list[dict[str, Any]]]:
    """Return the statement that gives each row its new values, and its parameters for each."""
    key, names = tuple(table.primary_key.columns), tuple(new[0][1])
    its = (one == bindparam(f"its_{one.name}", type_=one.type) for one in key)
    statement = update(table).where(*its).values({name: bindparam(f"new_{name}") for name in names})
    parameters = [
        {f"its_{one.name}": getattr(row, one.name) for one in key}
        | {f"new_{name}": value for name, value in values.items()}
        for row, values in new
    ]
    return statement, parameters
