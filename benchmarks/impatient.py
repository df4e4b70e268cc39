"""Clients that log in, give up after two seconds, and begin anew; a program of its own."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from benchmarks.load import Work
from benchmarks.machine import LOAD_CORE, on_core
from benchmarks.wechat import logins
from tests.support.service import ROOT

_PATIENCE: Final = 2.0


@contextmanager
def impatient_clients(port: int, count: int, *, users: int, settled: float) -> Iterator[None]:
    """Let them press a server; when the block begins, they have done so for `settled` seconds."""
    command = [sys.executable, "-m", __name__, *map(str, (port, count, users))]
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


async def _press(port: int, users: int) -> None:
    loop = asyncio.get_running_loop()
    while True:
        begun = loop.time()
        (message,) = Work("POST", "/login", logins(1, users)).messages()
        with suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(message)
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _PATIENCE)
            writer.close()
        await asyncio.sleep(max(0.0, begun + _PATIENCE - loop.time()))


async def _press_all(port: int, count: int, users: int) -> None:
    await asyncio.gather(*(_press(port, users) for _ in range(count)))


if __name__ == "__main__":
    asyncio.run(_press_all(*map(int, sys.argv[1:])))
