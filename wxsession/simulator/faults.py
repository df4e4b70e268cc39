"""What can happen to an answer of WeChat, besides an errcode."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from .errors import WeChatError


class Fault(Enum):
    """A way in which a request fails, or gets an unusual response.

    All of them use up a code, except `CONNECTION_REFUSED`: WeChat has done its work, but the caller
    does not learn of it. A fault that removes or adds a key does nothing to an answer that does
    not have the key, or has it already.
    """

    # No response.
    CONNECTION_REFUSED = auto()
    CONNECTION_RESET = auto()
    TIMEOUT_AFTER_EXCHANGE = auto()

    # A useless response: a 502 with a page, nothing, half, a list, many MiB, a byte at a time.
    NOT_JSON = auto()
    EMPTY = auto()
    TRUNCATED = auto()
    WRONG_SHAPE = auto()
    HUGE = auto()
    DRIP = auto()

    # Well-formed, but a key is missing.
    NO_OPENID = auto()
    NO_SESSION_KEY = auto()
    NO_UNIONID = auto()

    # Harmless: what WeChat wrote in other years, or may write in the next.
    LEGACY_EXPIRES_IN = auto()
    LEGACY_ERRCODE = auto()
    LEGACY_HINTS = auto()
    UNKNOWN_KEYS = auto()


_MISSING: Final = {
    Fault.NO_OPENID: "openid",
    Fault.NO_SESSION_KEY: "session_key",
    Fault.NO_UNIONID: "unionid",
}

_ADDED: Final[Mapping[Fault, Mapping[str, object]]] = {
    Fault.LEGACY_EXPIRES_IN: {"expires_in": 7200},
    Fault.LEGACY_ERRCODE: {"errcode": 0, "errmsg": "ok"},
    Fault.UNKNOWN_KEYS: {"openpid": None, "is_limit": False, "watermark": {"version": [2]}},
}


def apply_fault(
    answer: Mapping[str, object], fault: Fault | None, *, of_a_code: bool
) -> dict[str, object]:
    """Return what the fault makes of a successful answer. Most faults change only its bytes.

    Raises:
        WeChatError: 40029: the fault only shows in an error, so a request with a code gets one.
    """
    if fault is None:
        return dict(answer)
    if fault is Fault.LEGACY_HINTS and of_a_code:
        raise WeChatError.of(40029)
    kept = {name: value for name, value in answer.items() if name != _MISSING.get(fault)}
    added = {name: value for name, value in _ADDED.get(fault, {}).items() if name not in kept}
    return {**kept, **added}
