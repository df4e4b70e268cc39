"""The values WeChat makes up, in the shapes they have in real life.

Shapes were read off some twenty-five published samples; none of them is documented, so they are
here to look right in a log and to catch columns that are too narrow, not to be relied on.
"""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from string import ascii_lowercase, ascii_uppercase, digits

Entropy = Callable[[int], bytes]

_LETTERS = digits + ascii_lowercase + ascii_uppercase


def login_code(entropy: Entropy) -> str:
    """Make what wx.login returns: 32 letters and digits, a "0" first, [3:7] repeated at [27:31]."""
    letters = "".join(_LETTERS[byte % len(_LETTERS)] for byte in entropy(27))
    return f"0{letters[:26]}{letters[2:6]}{letters[26]}"


def phone_code(entropy: Entropy) -> str:
    """Make what the button getPhoneNumber gives: 64 hex digits."""
    return entropy(32).hex()


def access_token(entropy: Entropy) -> str:
    """Make an access token: 139 characters, though 512 is what one should be ready for."""
    return f"69_{urlsafe_b64encode(entropy(102)).decode()}"


def session_key(entropy: Entropy) -> str:
    """Make the base64 text of 16 bytes: 24 characters, the last two are "=="."""
    return b64encode(entropy(16)).decode()


def openid(appid: str, user: str) -> str:
    """Name a user of one app: 28 characters, an "o" first, the same after every restart."""
    return _id("o", "openid", appid, user)


def unionid(user: str) -> str:
    """Name a user of one open platform account, whichever of its apps is asking."""
    return _id("o", "unionid", user)


def open_gid(appid: str) -> str:
    """Name the one chat group of this world for an app: 28 characters, a "G" first."""
    return _id("G", "opengid", appid)


def rid(moment: datetime, entropy: Entropy) -> str:
    """Make a request id: three groups of eight hex digits, the first one is the unix time."""
    noise = entropy(8).hex()
    return f"{int(moment.timestamp()):08x}-{noise[:8]}-{noise[8:]}"


def hint(request_id: str) -> str:
    """Make the 16 characters that some errors have besides the rid they are derived from."""
    return urlsafe_b64encode(sha256(request_id.encode()).digest()[:12]).decode()


def _id(first: str, *parts: str) -> str:
    # Derived, not drawn: a simulator that was restarted still knows alice by the same name.
    digest = sha256("\0".join(parts).encode(errors="surrogatepass")).digest()
    return first + urlsafe_b64encode(digest).decode()[:27]
