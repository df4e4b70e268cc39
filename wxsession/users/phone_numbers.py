"""Phone numbers, which are stored sealed and are found by a keyed hash."""

import hmac
import re
from dataclasses import dataclass, field
from uuid import UUID

from wxsession.common.crypto import Sealer, SecretKeys, Unsealable

COLUMN = "users.phone_number_sealed"
NUMBER = re.compile(r"[0-9]{1,20}")
COUNTRY_CODE = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number as written within its country, and the country's calling code."""

    number: str = field(repr=False)
    country_code: str

    def masked(self) -> str:
        """Return the number with all but the first three and the last two digits hidden.

        Source: 小程序安全指引, "敏感信息泄露", in the mini-program documentation.
        """
        shown = len("138") + len("00")
        if len(self.number) <= shown:
            return "*" * len(self.number)
        return self.number[:3] + "*" * (len(self.number) - shown) + self.number[-2:]


class PhoneNumbers:
    """Converts numbers to columns of `users`, and back."""

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
        """Return the hashes under which the number may be stored, one per server key."""
        text = f"{phone.country_code} {phone.number}".encode()
        return tuple(hmac.digest(key, text, "sha256") for key in self._lookup)
