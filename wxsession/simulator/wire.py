"""Replies as bytes: what WeChat writes, and what a fault makes of it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from errno import ECONNREFUSED, ECONNRESET
from os import strerror
from typing import Final

from .errors import WeChatError
from .faults import Fault
from .generators import hint
from .server_api import Reply

LONGEST_WAIT: Final = 60.0  # seconds; no client waits longer, and a server needs its thread back

_CHUNK_SIZE: Final = 64 * 1024
_HUGE_SIZE: Final = 32 * 1024 * 1024
_DRIP_SIZE: Final = 600
_ERRCODES_WITH_HINT: Final = frozenset({40029, 47001})
_PAGE: Final = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n</html>\r\n"


class Dialect(Enum):
    """How a family of endpoints writes: the login's, most others, and those of `/wxa/business/`."""

    SNS = auto()
    API = auto()
    BUSINESS = auto()

    @property
    def content_type(self) -> str:
        """Return the content type of JSON. Both are odd, as they are at WeChat."""
        return "text/plain" if self is Dialect.SNS else "application/json; encoding=utf-8"


@dataclass(frozen=True)
class Message:
    """An HTTP response. `has_length` says whether it has a Content-Length."""

    body: bytes
    content_type: str
    status: int = 200
    has_length: bool = True


def serialize(reply: Reply, dialect: Dialect) -> Message:  # noqa: PLR0911 - a line for each fault
    """Return the response that carries a reply."""
    body, content_type = _json(reply, dialect), dialect.content_type
    match reply.fault:
        case Fault.NOT_JSON:
            return Message(_PAGE, "text/html", status=502)
        case Fault.EMPTY:
            return Message(b"", content_type)
        case Fault.TRUNCATED:
            return Message(body[: len(body) // 2], content_type)
        case Fault.WRONG_SHAPE:
            return Message(b"[" + body + b"]", content_type)
        # Spaces in front keep both valid: a client that reads to the end gets an answer, and should
        # have given up before.
        case Fault.HUGE:
            return Message(body.rjust(_HUGE_SIZE), content_type, has_length=False)
        case Fault.DRIP:
            return Message(body.rjust(_DRIP_SIZE), content_type)
        case _:
            return Message(body, content_type)


def stream(reply: Reply, body: bytes, sleep: Callable[[float], None]) -> Iterator[bytes]:
    """Send a body as slowly as the reply says, or not at all.

    Raises:
        ConnectionRefusedError: the fault is a refused connection.
        ConnectionResetError: the fault is a reset connection, or `LONGEST_WAIT` is over.
    """
    if reply.fault is Fault.CONNECTION_REFUSED:
        raise ConnectionRefusedError(ECONNREFUSED, strerror(ECONNREFUSED))
    if reply.delay:
        sleep(reply.delay)
    if reply.fault is Fault.TIMEOUT_AFTER_EXCHANGE:
        sleep(LONGEST_WAIT)
    if reply.fault in {Fault.CONNECTION_RESET, Fault.TIMEOUT_AFTER_EXCHANGE}:
        raise ConnectionResetError(ECONNRESET, strerror(ECONNRESET))
    drips = reply.fault is Fault.DRIP
    step = 1 if drips else _CHUNK_SIZE
    for start in range(0, len(body), step):
        yield body[start : start + step]
        if drips:
            sleep(reply.drip)


def _json(reply: Reply, dialect: Dialect) -> bytes:
    answer = reply.answer
    if isinstance(answer, WeChatError):
        suffix = _suffix(reply, answer.errcode, dialect)
        answer = {"errcode": answer.errcode, "errmsg": answer.errmsg + suffix}
    body = json.dumps(answer, separators=(",", ":")).encode()
    # Slashes, of which session_keys are full, are escaped: a parser does not care, a regular
    # expression does. Seen at the login only.
    return body.replace(b"/", rb"\/") if dialect is Dialect.SNS else body


def _suffix(reply: Reply, errcode: int, dialect: Dialect) -> str:
    """Return what follows an errmsg; endpoints under `/sns/` write a comma before it."""
    legacy = reply.fault is Fault.LEGACY_HINTS
    if dialect is Dialect.SNS:
        return ", hints: [ req_id: KfIawqLnRa-8oQBOA ]" if legacy else f", rid: {reply.rid}"
    if legacy:
        return " hint: [KfIawqLnRa-8oQBOA]"
    hinted = dialect is Dialect.BUSINESS and errcode in _ERRCODES_WITH_HINT
    return f" hint: [{hint(reply.rid)}] rid: {reply.rid}" if hinted else f" rid: {reply.rid}"
