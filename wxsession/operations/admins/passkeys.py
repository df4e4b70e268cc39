"""Passkeys of admins (WebAuthn): two factors in one, and nothing that could be typed elsewhere.

A challenge is not stored, because anybody may ask for one: it is random, dated and signed. A
response is good once, because its challenge has to be younger than the passkey's last use.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import delete, insert, select, update

from wxsession.common.clock import Clock
from wxsession.common.crypto import SecretKeys
from wxsession.common.wording import Sentence
from wxsession.errors import BadCredentials, InvalidRequest, NotSignedIn
from wxsession.events.audit import Audit
from wxsession.operations.admins.admin import ADMIN_COLUMNS, Admin, admin_from, hash_of
from wxsession.operations.admins.signing_in import AdminSession, AdminSessions
from wxsession.storage.database import Database
from wxsession.storage.tables import LONGEST_PASSKEY_NAME, admin_passkeys, admin_sessions, admins
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo

if TYPE_CHECKING:
    from wxsession.operations.admins.ceremonies import Site

CHALLENGE_LIFETIME = timedelta(minutes=10)
MOST_PASSKEYS = 10
_NONCE_BYTES, _DATE_BYTES, _TAG_BYTES = 16, 8, 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ANYBODY = UUID(int=0)
"""Whoever signs in: who that is, only the response says."""


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey as its owner sees it."""

    id: str
    name: str
    created_at: datetime
    last_used_at: datetime


class Passkeys:
    """Registers passkeys of admins, and lets admins in by them."""

    def __init__(
        self,
        database: Database,
        keys: SecretKeys,
        *,
        sessions: AdminSessions,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._database = database
        self._keys = keys.derive("passkey challenge")
        self._sessions = sessions
        self._audit = audit
        self._clock = clock

    def of(self, admin: Admin) -> list[Passkey]:
        """Return an admin's passkeys, oldest first.

        Raises:
            Overloaded: the database did not answer in time.
        """
        c = admin_passkeys.c
        query = select(c.credential_id, c.name, c.created_at, c.last_used_at)
        with self._database.statement() as connection:
            rows = connection.execute(query.where(c.admin_id == admin.id).order_by(c.created_at))
            return [Passkey(bytes(id_).hex(), *rest) for id_, *rest in rows]

    def registration(self, admin: Admin, site: "Site") -> str:
        """Return the options by which a browser makes a passkey of an admin, as JSON.

        Raises:
            Overloaded: the database did not answer in time.
        """
        from wxsession.operations.admins import ceremonies  # noqa: PLC0415 - slow, of an extra

        known = [bytes.fromhex(one.id) for one in self.of(admin)]
        challenge = self._challenge(admin.id)
        return ceremonies.registration_options(site, admin.id, admin.name, challenge, known)

    def register(
        self, session: AdminSession, name: str, response: str, site: "Site", client: ClientInfo
    ) -> None:
        """Store the passkey that the browser of a session has made.

        Raises:
            InvalidRequest: the response is not one to our options, or comes too late.
            NotSignedIn: the session has ended meanwhile, as it does when its admin is reset.
            Overloaded: the database did not answer in time.
        """
        from wxsession.operations.admins import ceremonies  # noqa: PLC0415 - as above

        try:
            challenge = ceremonies.challenge_in(response, is_registration=True)
            self._issued_at(challenge, session.admin.id)
            made = ceremonies.registered(response, site, challenge)
        except ValueError:
            raise InvalidRequest.of("passkey", "is not accepted, or took too long") from None
        now, c, admin = self._clock(), admin_passkeys.c, session.admin
        row = {
            "credential_id": made.id,
            "admin_id": admin.id,
            "public_key": made.public_key,
            "sign_count": made.sign_count,
            "name": name.strip()[:LONGEST_PASSKEY_NAME] or "-",
            "created_at": now,
            "last_used_at": now,
        }
        theirs = select(c.credential_id).where(c.admin_id == admin.id)
        known = select(c.admin_id).where(c.credential_id == made.id)
        its_hash = admin_sessions.c.token_hash
        still_there = select(its_hash).where(its_hash == hash_of(session.token))
        with self._database.transaction() as transaction:
            transaction.execute(
                select(admins.c.id).where(admins.c.id == admin.id).with_for_update()
            )
            # A reset may have held that lock: it has ended every session, and removed what passkeys
            # there were.
            if transaction.execute(still_there).first() is None:
                raise NotSignedIn
            if len(transaction.execute(theirs).all()) >= MOST_PASSKEYS:
                raise InvalidRequest.of(
                    "passkey", Sentence("would be one more than {most}", most=MOST_PASSKEYS)
                )
            if transaction.execute(known).first() is not None:
                raise InvalidRequest.of("passkey", "is registered already")
            transaction.execute(insert(admin_passkeys).values(row))
            self._audit.write(transaction, "admin.passkey_added", client, actor=admin.name)

    def remove(self, admin: Admin, passkey_id: str, client: ClientInfo) -> None:
        """Remove a passkey of an admin; nothing happens if there is none.

        Raises:
            Overloaded: the database did not answer in time.
        """
        try:
            credential_id = bytes.fromhex(passkey_id)
        except ValueError:
            return
        c = admin_passkeys.c
        removing = delete(admin_passkeys).where(
            c.credential_id == credential_id, c.admin_id == admin.id
        )
        with self._database.transaction() as transaction:
            if transaction.execute(removing).rowcount:
                self._audit.write(transaction, "admin.passkey_removed", client, actor=admin.name)

    def authentication(self, site: "Site") -> str:
        """Return the options by which a browser finds a passkey for this site, as JSON."""
        from wxsession.operations.admins import ceremonies  # noqa: PLC0415 - as above

        return ceremonies.authentication_options(site, self._challenge(_ANYBODY))

    def sign_in(self, response: str, site: "Site", client: ClientInfo) -> str:
        """Return the token of a new session of the admin whose passkey has responded.

        Raises:
            BadCredentials: it is not accepted, or comes too late, or a second time.
            Overloaded: the database did not answer in time.
        """
        with self._database.transaction() as transaction:
            admin = self._take(transaction, response, site)
            if admin is not None:
                return self._sessions.begin(transaction, admin, client)
        raise self._refused(client)

    def refresh_factor(
        self, session: AdminSession, response: str, site: "Site", client: ClientInfo
    ) -> None:
        """Accept a response as the second factor again, for what cannot be undone.

        Raises:
            BadCredentials: it is not accepted, or comes too late, a second time, or of another.
            Overloaded: the database did not answer in time.
        """
        with self._database.transaction() as transaction:
            admin = self._take(transaction, response, site)
            if admin is not None and admin.id == session.admin.id:
                self._sessions.freshen(transaction, session)
                return
        raise self._refused(client)

    def _take(self, transaction: Transaction, response: str, site: "Site") -> Admin | None:
        """Return the admin whose passkey has responded, if it has, for the first time."""
        from wxsession.operations.admins import ceremonies  # noqa: PLC0415 - as above

        c = admin_passkeys.c
        columns = (*ADMIN_COLUMNS, c.credential_id, c.public_key, c.sign_count)
        query = select(*columns).join(admin_passkeys, c.admin_id == admins.c.id)
        try:
            challenge = ceremonies.challenge_in(response, is_registration=False)
            issued_at = self._issued_at(challenge, _ANYBODY)
            its = query.where(
                c.credential_id == ceremonies.responding(response), admins.c.disabled_at.is_(None)
            )
            row = transaction.execute(its.with_for_update()).first()
            if row is None:
                return None
            known = ceremonies.Credential(
                bytes(row.credential_id), bytes(row.public_key), row.sign_count
            )
            sign_count = ceremonies.sign_count_of(response, site, challenge, known)
        except ValueError:
            return None
        now = self._clock()
        using = update(admin_passkeys).where(
            c.credential_id == known.id, c.last_used_at < issued_at
        )
        if not transaction.execute(using.values(last_used_at=now, sign_count=sign_count)).rowcount:
            return None
        return admin_from(row)

    def _refused(self, client: ClientInfo) -> BadCredentials:
        refusal = BadCredentials()
        self._audit.count("admin.refused", client, reason=refusal.code)
        return refusal

    def _challenge(self, whose: UUID) -> bytes:
        moment = (self._clock() - _EPOCH) // timedelta(microseconds=1)
        body = secrets.token_bytes(_NONCE_BYTES) + moment.to_bytes(_DATE_BYTES)
        return body + _tag(self._keys[-1], whose, body)

    def _issued_at(self, challenge: bytes, whose: UUID) -> datetime:
        """Return when a challenge was issued.

        Raises:
            ValueError: it was not, or to somebody else, or too long ago.
        """
        body, tag = challenge[:-_TAG_BYTES], challenge[-_TAG_BYTES:]
        if not any(hmac.compare_digest(tag, _tag(key, whose, body)) for key in self._keys):
            raise ValueError("a challenge of somebody else")
        issued_at = _EPOCH + timedelta(microseconds=int.from_bytes(body[_NONCE_BYTES:]))
        if self._clock() - issued_at > CHALLENGE_LIFETIME:
            raise ValueError("an old challenge")
        return issued_at


def _tag(key: bytes, whose: UUID, body: bytes) -> bytes:
    return hmac.digest(key, whose.bytes + body, "sha256")
