"""A WeChat that only answers code2Session, late and cheaply: `python -m benchmarks.wechat`.

It knows every code that ends in a number, and says whose it is by that number. The simulator of
the package knows much more, and would take more of the load's core than what is measured.
"""

import asyncio
import json
import random
import re
import secrets
import sys
from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import md5
from typing import Final

from benchmarks.filling import OPENID
from benchmarks.load import Request
from benchmarks.machine import LOAD_CORE, on_core
from tests.support.service import Server

_CODE: Final = re.compile(rb"js_code=\w+-(\d+)")


class WeChat(Server):
    """The program of this module, on the load's core."""

    def __init__(self, *, delay: float) -> None:
        """Start nothing yet; `delay` is in seconds."""
        super().__init__({})
        self._delay = delay

    def launch(self) -> None:
        """Start the program and do not wait for it."""
        with on_core(LOAD_CORE):
            super().launch()

    def command(self) -> list[str]:
        """Return how the program is called."""
        return [sys.executable, "-m", __name__, str(self.port), str(self._delay)]


def logins(count: int, users: Sequence[int]) -> list[Request]:
    """Return the requests of so many logins, with new codes, of some of these users."""
    return logins_of_each(random.choices(users, k=count))


def logins_of_each(users: Iterable[int]) -> list[Request]:
    """Return the requests of a login of each of them, with a new code."""
    run = secrets.token_hex(12)
    codes = (f"{run}x{n}-{user}" for n, user in enumerate(users))
    return [Request(body=json.dumps({"code": code})) for code in codes]


async def _serve(port: int, delay: float) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = _CODE.search(head)
                if found:
                    await asyncio.sleep(delay)
                writer.write(_message(_identity(int(found[1])) if found else {}))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


def _identity(number: int) -> dict[str, object]:
    key = md5(str(number).encode(), usedforsecurity=False).digest()
    return {"session_key": b64encode(key).decode(), "openid": OPENID.format(number)}


def _message(body: dict[str, object]) -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
