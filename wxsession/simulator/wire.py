"""Replies as bytes: what WeChat writes, and what the wire makes of it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import ECONNREFUSED, ECONNRESET
from os import strerror
from typing import Final

from .errors import WeChatError
from .faults import Fault
from .wechat import Reply

NEVER: Final = 60.0  # seconds; no patient client waits longer, and a server's thread comes back

_PIECE: Final = 64 * 1024
_HUGE: Final = 32 * 1024 * 1024
_LONG: Final = 600
_LEGACY_HINTS: Final = ", hints: [ req_id: KfIawqLnRa-8oQBOA ]"
_PAGE: Final = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n</html>\r\n"


@dataclass(frozen=True)
class Message:
    """An HTTP response. `measured` says whether its length is announced."""

    body: bytes
    status: int = 200
    content_type: str = "text/plain"  # of JSON, and without a charset: so it is on the live wire
    measured: bool = True


def written(reply: Reply) -> Message:  # noqa: PLR0911 - a line for each fault
    """Return the response that carries a reply."""
    body = _json(reply)
    match reply.fault:
        case Fault.NOT_JSON:
            return Message(_PAGE, status=502, content_type="text/html")
        case Fault.EMPTY:
            return Message(b"")
        case Fault.TRUNCATED:
            return Message(body[: len(body) // 2])
        case Fault.WRONG_SHAPE:
            return Message(b"[" + body + b"]")
        # Blanks in front keep both valid: who reads to the end gets an answer, and should not.
        case Fault.HUGE:
            return Message(body.rjust(_HUGE), measured=False)
        case Fault.DRIP:
            return Message(body.rjust(_LONG))
        case _:
            return Message(body)


def paced(
    reply: Reply, body: bytes, drip: float, sleep: Callable[[float], None]
) -> Iterator[bytes]:
    """Send a body in its own time, or not at all.

    Raises:
        ConnectionRefusedError: as the fault demands.
        ConnectionResetError: as the fault demands, or after `NEVER`.
    """
    if reply.fault is Fault.CONNECTION_REFUSED:
        raise ConnectionRefusedError(ECONNREFUSED, strerror(ECONNREFUSED))
    if reply.delay:
        sleep(reply.delay)
    if reply.fault is Fault.TIMEOUT_AFTER_EXCHANGE:
        sleep(NEVER)
    if reply.fault in {Fault.CONNECTION_RESET, Fault.TIMEOUT_AFTER_EXCHANGE}:
        raise ConnectionResetError(ECONNRESET, strerror(ECONNRESET))
    drips = reply.fault is Fault.DRIP
    step = 1 if drips else _PIECE
    for start in range(0, len(body), step):
        yield body[start : start + step]
        if drips:
            sleep(drip)


def _json(reply: Reply) -> bytes:
    answer = reply.answer
    if isinstance(answer, WeChatError):
        # Endpoints under /sns/ put a comma before the rid, all others do not.
        suffix = _LEGACY_HINTS if reply.fault is Fault.LEGACY_HINTS else f", rid: {reply.rid}"
        answer = {"errcode": answer.errcode, "errmsg": answer.errmsg + suffix}
    # Slashes, which session_keys are full of, are escaped: no matter to a parser, fatal to a regex.
    return json.dumps(answer, separators=(",", ":")).replace("/", r"\/").encode()
