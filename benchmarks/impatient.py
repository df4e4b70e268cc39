"""Clients that log in, give up after two seconds, and begin again; a program of its own."""

import asyncio
import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from benchmarks.load import Request, Work
from benchmarks.machine import LOAD_CORE, on_core
from benchmarks.wechat import logins
from tests.support.service import ROOT

_TIMEOUT: Final = 2.0

CODES: Final = "codes"
PASSWORDS: Final = "passwords"


@contextmanager
def impatient_clients(
    port: int, count: int, *, users: int, settled: float, kind: str = CODES
) -> Iterator[None]:
    """Let them press a server; when the block begins, they have done so for `settled` seconds."""
    command = [sys.executable, "-m", __name__, *map(str, (port, count, users, kind))]
    with on_core(LOAD_CORE):
        process = subprocess.Popen(command, cwd=ROOT)
    with process:
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(settled)
                raise RuntimeError("the impatient clients have ended")
            yield
        finally:
            process.kill()


def _by_code(users: int) -> Request:
    (request,) = logins(1, range(users))
    return request


def _by_password(users: int) -> Request:
    """Return a guess from an address that has not been seen before, so that no limit ends it."""
    address = f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"
    guess = {"username": f"name-{secrets.randbelow(users)}", "password": secrets.token_hex(8)}
    return Request({"X-Forwarded-For": address}, json.dumps(guess))


_KINDS: Final[Mapping[str, Callable[[int], Request]]] = {CODES: _by_code, PASSWORDS: _by_password}


async def _press(port: int, users: int, kind: str) -> None:
    loop = asyncio.get_running_loop()
    while True:
        begun = loop.time()
        (message,) = Work("POST", "/login", [_KINDS[kind](users)]).messages()
        with suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(message)
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _TIMEOUT)
            writer.close()
        await asyncio.sleep(max(0.0, begun + _TIMEOUT - loop.time()))


async def _press_all(port: int, count: int, users: int, kind: str) -> None:
    await asyncio.gather(*(_press(port, users, kind) for _ in range(count)))


if __name__ == "__main__":
    _port, _count, _users, _kind = sys.argv[1:]
    asyncio.run(_press_all(int(_port), int(_count), int(_users), _kind))
