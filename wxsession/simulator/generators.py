"""The values that WeChat invents: codes, tokens, keys and ids, as long as the real ones.

Their forms were read off some 25 published samples. None is documented: they look right in a log
and find columns that are too narrow, but nothing may depend on them.
"""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from string import ascii_lowercase, ascii_uppercase, digits

Entropy = Callable[[int], bytes]

_LETTERS = digits + ascii_lowercase + ascii_uppercase


def login_code(entropy: Entropy) -> str:
    """Return a code of wx.login: 32 letters and digits, first "0", [3:7] again at [27:31]."""
    letters = "".join(_LETTERS[byte % len(_LETTERS)] for byte in entropy(27))
    return f"0{letters[:26]}{letters[2:6]}{letters[26]}"


def phone_code(entropy: Entropy) -> str:
    """Return a code of the button getPhoneNumber: 64 hex digits."""
    return entropy(32).hex()


def access_token(entropy: Entropy) -> str:
    """Return an access token: 139 characters, although a server must store up to 512."""
    return f"69_{urlsafe_b64encode(entropy(102)).decode()}"


def session_key(entropy: Entropy) -> str:
    """Return 16 bytes in base64: 24 characters, the last two are "=="."""
    return b64encode(entropy(16)).decode()


def openid(appid: str, user: str) -> str:
    """Return the id of a user in an app: 28 characters, first "o", the same after a restart."""
    return _id("o", "openid", appid, user)


def unionid(user: str) -> str:
    """Return the id of a user in all apps of the open platform account."""
    return _id("o", "unionid", user)


def open_gid(appid: str) -> str:
    """Return the id of the only chat group in an app: 28 characters, first "G"."""
    return _id("G", "opengid", appid)


def rid(moment: datetime, entropy: Entropy) -> str:
    """Return a request id: three groups of eight hex digits, the first is the Unix time."""
    noise = entropy(8).hex()
    return f"{int(moment.timestamp()):08x}-{noise[:8]}-{noise[8:]}"


def hint(request_id: str) -> str:
    """Return the 16 characters that some errors have before the rid; derived from it."""
    return urlsafe_b64encode(sha256(request_id.encode()).digest()[:12]).decode()


def _id(first: str, *parts: str) -> str:
    # Derived and not drawn: a restarted simulator still knows alice by the same id.
    digest = sha256("\0".join(parts).encode(errors="surrogatepass")).digest()
    return first + urlsafe_b64encode(digest).decode()[:27]
