"""Limits on failed attempts: passwords, codes, registrations, API keys.

The counters are in the database, so that all workers count together. A counter's window starts
at the first attempt and is not extended by later ones, so an attacker cannot lock the owner out
for good. Unknown usernames are counted as well, so a lock does not reveal that an account exists.

A guess is counted before it is evaluated, in one statement that adds only below the limit, and is
taken back unless it was wrong. So parallel guesses gain nothing, and a refused guess does not
reveal whether it was right. Codes are counted after WeChat refused them: they cannot be guessed,
and users who log in behind the same address never block each other.

Wrong passwords have a second counter, over a day: ten in each window would be a thousand. It is
added to after the comparison, so that a right password costs no statement for it; of guesses at
once, no more than the window allows get past it.
"""

import hmac
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import case, delete, or_, select, update

from wxsession.common.clock import Clock
from wxsession.common.crypto import SecretKeys
from wxsession.errors import (
    BadCredentials,
    CodeUsed,
    InvalidCode,
    Overloaded,
    TooManyAttempts,
    UsernameTaken,
)
from wxsession.events.audit import Audit
from wxsession.settings import Limit
from wxsession.storage.database import Database, upsert
from wxsession.storage.tables import failed_attempts
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo, network_of

WINDOW = timedelta(minutes=15)
DAY = timedelta(days=1)
FAILURES_PER_ACCOUNT = 10
FAILURES_PER_DAY = 100  # NIST SP 800-63B, 5.2.2, has no more than that in a row
FAILURES_PER_ADDRESS = 100  # an address may be that of a whole office, or of a carrier's NAT
_DEVICE_LOGINS = Limit(300, timedelta(minutes=10))
_IN_A_DAY = " in a day"
_OF_ADMINS = ("admin", "admin session")
_MOST_SUSPECTS = 10_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Counter:
    key_hash: bytes
    limit: Limit


@dataclass(frozen=True, slots=True)
class _Counted:
    """One attempt in a counter, which has `failures` with it and expires at `expires_at`."""

    key_hash: bytes
    failures: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Guess:
    """A password under verification; if `is_last` and wrong, it locks the account for a while."""

    is_last: bool


class Throttle:
    """Limits attempts; `codes` and `registrations` may be None, for no limit."""

    def __init__(
        self,
        database: Database,
        keys: SecretKeys,
        audit: Audit,
        clock: Clock,
        codes: Limit | None,
        registrations: Limit | None,
    ) -> None:
        self._database = database
        self._keys = keys.derive("throttle")
        self._audit = audit
        self._clock = clock
        self._codes = codes
        self._registrations = registrations
        # Networks whose codes were refused, as far as this process knows, and until when. Only
        # for these is the database asked, so each worker may ask WeChat once more than the limit.
        self._suspects: dict[str, datetime] = {}

    @contextmanager
    def guess(
        self, username: str, client: ClientInfo, *, session_of: UUID | None = None
    ) -> Iterator[Guess]:
        """Run a block that verifies a password; the attempt stays counted on `BadCredentials` only.

        A right password resets the account's counter, unless another attempt is under way. A user
        with a session has a counter that nobody else can fill, so an attacker who guesses the
        password cannot keep the user from changing it.

        Raises:
            TooManyAttempts: too many passwords were wrong, or are being tried, for this name or
                from this address.
            Overloaded: the database did not answer in time.
        """
        kind, whose = ("account", username) if session_of is None else ("session", str(session_of))
        with self._guess(kind, whose, client, "login.failed") as guess:
            yield guess

    @contextmanager
    def admin_guess(
        self, name: str, client: ClientInfo, *, signed_in: bool = False
    ) -> Iterator[Guess]:
        """Run a block that verifies the password or the code of an admin of the console.

        As `guess` does; an admin who is signed in has a counter that nobody else can fill.

        Raises:
            TooManyAttempts, Overloaded: as for `guess`.
        """
        with self._guess(_OF_ADMINS[signed_in], name, client, "admin.refused") as guess:
            yield guess

    @contextmanager
    def _guess(self, kind: str, whose: str, client: ClientInfo, refusal: str) -> Iterator[Guess]:
        account = self._counter(kind, whose, Limit(FAILURES_PER_ACCOUNT, WINDOW))
        of_day = self._counter(kind + _IN_A_DAY, whose, Limit(FAILURES_PER_DAY, DAY))
        counters = [account]
        if client.address is not None:
            everywhere = Limit(FAILURES_PER_ADDRESS, WINDOW)
            counters.append(self._counter("address", network_of(client.address), everywhere))
        counted = self._count("passwords", refusal, counters, client, watching=[of_day])
        own = next(one for one in counted if one.key_hash == account.key_hash)
        try:
            yield Guess(is_last=own.failures == FAILURES_PER_ACCOUNT)
        except BadCredentials:
            with suppress(Overloaded, TooManyAttempts):
                self._add([of_day], "passwords")
            raise
        except BaseException:
            self._take_back(counted)
            raise
        self._take_back(counted, forgetting=own)

    def ensure_codes_allowed(self, client: ClientInfo, *, appid: str) -> None:
        """Return if a code from this address may be exchanged.

        Raises:
            TooManyAttempts: too many codes from this address were refused recently.
            Overloaded: the database did not answer in time.
        """
        if self._codes is None or client.address is None:
            return
        now, network = self._clock(), network_of(client.address)
        if self._suspects.get(network, now) <= now:
            return  # so a normal login costs no statement
        try:
            self._ensure_below([self._counter("codes", network, self._codes)], "codes")
        except TooManyAttempts as refusal:
            self._audit.count("login.failed", client, reason=refusal.code, appid=appid)
            raise

    @contextmanager
    def counting_codes(self, client: ClientInfo) -> Iterator[None]:
        """Run a block that exchanges a code, and count a refused one if the database is available.

        `UserBlocked` does not count: the code was good.
        """
        try:
            yield
        except (InvalidCode, CodeUsed):
            if self._codes is not None and client.address is not None:
                self._count_code(network_of(client.address), self._codes)
            raise

    @contextmanager
    def registration(self, client: ClientInfo, user_id: UUID | None) -> Iterator[None]:
        """Run a block that registers a username, from this address or for this user.

        New users count, and taken usernames, because each of these reveals that an account
        exists. An existing user who gets a username does not count, and has a counter apart from
        that of the address.

        Raises:
            TooManyAttempts: there were too many recently.
            Overloaded: the database did not answer in time.
        """
        if self._registrations is None or client.address is None:
            yield
            return
        who = network_of(client.address) if user_id is None else str(user_id)
        counter = self._counter("registrations", who, self._registrations)
        counted = self._count("registrations", "registration.failed", [counter], client)
        try:
            yield
        except UsernameTaken:
            raise
        except BaseException:
            self._take_back(counted)
            raise
        if user_id is not None:
            self._take_back(counted)

    def count_device_login(self, client: ClientInfo) -> None:
        """Count a code that a device asks for, which anybody may.

        Raises:
            TooManyAttempts: there were too many from this address recently.
            Overloaded: the database did not answer in time.
        """
        if client.address is not None:
            counter = self._counter("devices", network_of(client.address), _DEVICE_LOGINS)
            self._count("devices", "login.failed", [counter], client)

    def count_api_key(self, client: ClientInfo) -> None:
        """Count a wrong API key from this address.

        Raises:
            TooManyAttempts: there were too many recently.
            Overloaded: the database did not answer in time.
        """
        if client.address is not None:
            limit = Limit(FAILURES_PER_ADDRESS, WINDOW)
            self._add([self._counter("api_keys", network_of(client.address), limit)], "api_keys")

    def unlock(self, username: str | None, user_id: UUID) -> None:
        """Forget the wrong passwords of an account, by its normalised username and its user.

        Those of an address stay.

        Raises:
            Overloaded: the database did not answer in time.
        """
        self._unlock(_guessed(username, user_id))

    def unlock_admin(self, name: str) -> None:
        """Forget the wrong passwords and codes of an admin; those of an address stay.

        Raises:
            Overloaded: the database did not answer in time.
        """
        self._unlock([(kind, name) for kind in _OF_ADMINS])

    def forget(self, transaction: Transaction, user_id: UUID, username: str | None) -> None:
        """Delete the counters of a user; those of addresses are not the user's alone."""
        its = self._hashes([*_guessed(username, user_id), ("registrations", str(user_id))])
        transaction.execute(delete(failed_attempts).where(failed_attempts.c.key_hash.in_(its)))

    def _unlock(self, counted: Iterable[tuple[str, str]]) -> None:
        its = failed_attempts.c.key_hash.in_(self._hashes(counted))
        with self._database.statement() as connection:
            connection.execute(delete(failed_attempts).where(its))

    def _hashes(self, counted: Iterable[tuple[str, str]]) -> list[bytes]:
        """Return the keys of counters, with every secret key and for each period."""
        return [
            _hash(key, kind + period, value)
            for key in self._keys
            for kind, value in counted
            for period in ("", _IN_A_DAY)
        ]

    def _count_code(self, network: str, limit: Limit) -> None:
        if len(self._suspects) >= _MOST_SUSPECTS:
            self._suspects.clear()
        self._suspects[network] = self._clock() + limit.window
        with suppress(Overloaded, TooManyAttempts):  # other requests may have filled it by now
            [counted] = self._add([self._counter("codes", network, limit)], "codes")
            if counted.failures == limit.most:
                _log.warning(
                    "no more codes from %s for a while: %d were refused; if this is the address"
                    " of your own proxy, see WXSESSION_TRUSTED_PROXIES",
                    *(network, limit.most),
                )

    def _count(
        self,
        reason: str,
        event: str,
        counters: Sequence[_Counter],
        client: ClientInfo,
        *,
        watching: Sequence[_Counter] = (),
    ) -> list[_Counted]:
        """Count an attempt in all counters, or refuse it and count that `event` in the audit.

        It is refused, too, if one of those that are only watched is full.
        """
        try:
            return self._add(counters, reason, watching=watching)
        except TooManyAttempts as refusal:
            self._audit.count(event, client, reason=refusal.code)
            raise

    def _add(
        self, counters: Sequence[_Counter], reason: str, *, watching: Sequence[_Counter] = ()
    ) -> list[_Counted]:
        """Add one to each counter, or to none of them if one is full, or one that is watched."""
        # A flood of refused attempts writes nothing.
        self._ensure_below([*counters, *watching], reason)
        now = self._clock()
        c = failed_attempts.c
        # The same order everywhere, so that two statements never deadlock.
        ordered = sorted(counters, key=lambda counter: counter.key_hash)
        rows = [
            {"key_hash": one.key_hash, "failures": 1, "expires_at": now + one.limit.window}
            for one in ordered
        ]
        fresh = upsert(self._database, failed_attempts).values(rows)
        starts_again = or_(c.expires_at <= now, c.failures == 0)
        most = case(*((c.key_hash == one.key_hash, one.limit.most) for one in ordered), else_=0)
        adding = fresh.on_conflict_do_update(
            index_elements=["key_hash"],
            set_={
                "failures": case((starts_again, 1), else_=c.failures + 1),
                "expires_at": case((starts_again, fresh.excluded.expires_at), else_=c.expires_at),
            },
            where=or_(starts_again, c.failures < most),
        ).returning(c.key_hash, c.failures, c.expires_at)
        # No transaction: all guesses from an address update one row, and its lock would be held
        # until COMMIT, a round trip longer.
        with self._database.statement() as connection:
            counted = [_Counted(bytes(key), *rest) for key, *rest in connection.execute(adding)]
        if len(counted) < len(ordered):
            # One was full: the statement has added to the others only.
            self._take_back(counted)
            self._ensure_below(ordered, reason)
            raise _too_many(reason, ordered[0].limit, timedelta(0))  # it has just expired
        return counted

    def _ensure_below(self, counters: Sequence[_Counter], reason: str) -> None:
        now = self._clock()
        c = failed_attempts.c
        limits = {one.key_hash: one.limit for one in counters}
        query = select(c.key_hash, c.failures, c.expires_at)
        query = query.where(c.key_hash.in_(limits), c.expires_at > now)
        with self._database.statement() as connection:
            rows = connection.execute(query).all()
        full = [row for row in rows if row.failures >= limits[bytes(row.key_hash)].most]
        if full:
            last = max(full, key=lambda row: row.expires_at)
            raise _too_many(reason, limits[bytes(last.key_hash)], last.expires_at - now)

    def _take_back(self, counted: Sequence[_Counted], forgetting: _Counted | None = None) -> None:
        """Subtract one from each counter whose window is still the same, if that is possible.

        A counter of zero is deleted, and so is `forgetting` if no attempt was added since. If the
        database is not available the attempt stays counted until it expires.
        """
        c = failed_attempts.c
        with suppress(Overloaded), self._database.statement() as connection:
            for one in counted:  # one statement each, so that no two rows are locked at once
                same = (c.key_hash == one.key_hash, c.expires_at == one.expires_at)
                most = one.failures if one is forgetting else 1
                dropping = delete(failed_attempts).where(*same, c.failures <= most)
                if not connection.execute(dropping).rowcount:
                    # Two at once may both come here and leave a zero: `_add` starts it again.
                    lowering = update(failed_attempts).where(*same)
                    connection.execute(lowering.values(failures=c.failures - 1))

    def _counter(self, kind: str, value: str, limit: Limit) -> _Counter:
        # With the newest key: while a new key is rolled out, machines with and without it count
        # separately.
        return _Counter(_hash(self._keys[-1], kind, value), limit)


def _guessed(username: str | None, user_id: UUID) -> list[tuple[str, str]]:
    """Return what the wrong passwords of an account are counted by."""
    in_session = ("session", str(user_id))
    return [in_session] if username is None else [in_session, ("account", username)]


def _hash(key: bytes, kind: str, value: str) -> bytes:
    # Keyed, because people sometimes type a password as the username.
    return hmac.digest(key, f"{kind}\0{value}".encode(), "sha256")


def _too_many(reason: str, limit: Limit, left: timedelta) -> TooManyAttempts:
    return TooManyAttempts(
        reason,
        retry_after=max(1, math.ceil(left.total_seconds())),
        limit=limit.most,
        window=int(limit.window.total_seconds()),
    )
