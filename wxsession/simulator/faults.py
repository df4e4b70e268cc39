"""What can go wrong with an answer of WeChat, besides an errcode."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from .errors import WeChatError


class Fault(Enum):
    """One way in which a call fails, or is answered oddly.

    A code is spent in every one of them except `CONNECTION_REFUSED`: WeChat has done its work,
    only the caller does not get to know it properly. What takes a key away, or adds one, leaves
    an answer alone that does not have the key, or has it already.
    """

    # No answer at all.
    CONNECTION_REFUSED = auto()
    CONNECTION_RESET = auto()
    TIMEOUT_AFTER_EXCHANGE = auto()

    # An answer that is none: a 502 with a page, nothing, half, a list, many MiB, a byte at a time.
    NOT_JSON = auto()
    EMPTY = auto()
    TRUNCATED = auto()
    WRONG_SHAPE = auto()
    HUGE = auto()
    DRIP = auto()

    # Well-formed, and something is missing.
    NO_OPENID = auto()
    NO_SESSION_KEY = auto()
    NO_UNIONID = auto()

    # Harmless, and seen in the wild: what WeChat wrote in other years, or may write in the next.
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
    """Return a successful answer as the fault leaves it; most faults touch only its bytes.

    Raises:
        WeChatError: the fault needs an error to show itself, and this was none: 40029, where the
            call was about a code.
    """
    if fault is None:
        return dict(answer)
    if fault is Fault.LEGACY_HINTS and of_a_code:
        raise WeChatError.of(40029)
    kept = {name: value for name, value in answer.items() if name != _MISSING.get(fault)}
    added = {name: value for name, value in _ADDED.get(fault, {}).items() if name not in kept}
    return {**kept, **added}
