"""Phone numbers at rest: sealed, and found by a keyed hash."""

import hmac
from uuid import UUID

from wxsession.keys import SecretKeys
from wxsession.sealing import Sealer, Unsealable
from wxsession.wechat.phone_number import PhoneNumber

COLUMN = "users.phone_number_sealed"


class PhoneNumbers:
    """Turns numbers into what a row may hold, and back."""

    def __init__(self, sealer: Sealer, keys: SecretKeys) -> None:
        self._sealer = sealer
        self._lookup = keys.derive("phone number lookup")

    def columns(self, phone: PhoneNumber, user_id: UUID) -> dict[str, bytes]:
        """Return the columns of `users` that hold this number for this user."""
        text = f"{phone.country_code} {phone.number}".encode()
        return {
            "phone_number_sealed": self._sealer.seal(text, row=user_id, column=COLUMN),
            "phone_number_hash": self.hashes(phone)[-1],
        }

    def open(self, sealed: bytes | None, user_id: UUID) -> PhoneNumber | None:
        """Return the number of a user, or None if there is none or no server key opens it."""
        if sealed is None:
            return None
        try:
            text = self._sealer.open(bytes(sealed), row=user_id, column=COLUMN).decode()
        except Unsealable:
            return None
        country_code, _, number = text.partition(" ")
        return PhoneNumber(number, country_code)

    def hashes(self, phone: PhoneNumber) -> tuple[bytes, ...]:
        """Return under which hashes the number may be stored: one for each server key."""
        text = f"{phone.country_code} {phone.number}".encode()
        return tuple(hmac.digest(key, text, "sha256") for key in self._lookup)
