"""Codes of an authenticator app (TOTP, RFC 6238): six digits, another one every thirty seconds."""

import base64
import hmac
import secrets
from datetime import datetime

PERIOD = 30
_SECRET_BYTES = 20  # RFC 4226, 4: as long as the hash
_ISSUER = "wxsession"


def new_secret() -> str:
    """Return a secret that an app and this server share, in base32."""
    return base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def uri(secret: str, name: str) -> str:
    """Return what stands in the QR code that the app reads."""
    import pyotp  # noqa: PLC0415 - of an extra, which only the console needs

    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=_ISSUER)


def step_of(code: str, secret: str, now: datetime) -> int | None:
    """Return the number of the period that a code is of, None if it is wrong.

    The clock of a phone may be a period off.
    """
    import pyotp  # noqa: PLC0415 - as above

    totp, current = pyotp.TOTP(secret), int(now.timestamp()) // PERIOD
    digits = code.replace(" ", "").encode()
    found = [
        step
        for step in (current - 1, current, current + 1)
        if hmac.compare_digest(totp.at(step * PERIOD).encode(), digits)
    ]
    return found[-1] if found else None
