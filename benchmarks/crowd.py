"""Clients that all log in in the same moment, once; a program of its own."""

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Final

from benchmarks.load import Work
from benchmarks.machine import LOAD_CORE, on_core
from benchmarks.wechat import logins
from tests.support.service import ROOT

_TIMEOUT: Final = 60.0


@dataclass(frozen=True)
class Crowd:
    """What became of them."""

    good: int
    seconds: float
    """Until the last one was answered."""


def send_crowd(port: int, count: int, *, users: int) -> Crowd:
    """Send so many clients from the load's core, and return when all are answered."""
    with on_core(LOAD_CORE):
        done = subprocess.run(
            [sys.executable, "-m", __name__, *map(str, (port, count, users))],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=2 * _TIMEOUT,
        )
    return Crowd(**json.loads(done.stdout))


async def _log_in(port: int, message: bytes, go: asyncio.Event) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await go.wait()
    writer.write(message)
    status = await reader.readline()
    writer.close()
    return b" 200 " in status


async def _log_in_at_once(port: int, count: int, users: int) -> dict[str, float]:
    messages = Work("POST", "/login", logins(count, range(users))).messages()
    go = asyncio.Event()
    clients = [asyncio.create_task(_log_in(port, message, go)) for message in messages]
    await asyncio.sleep(0)  # all of them connect, and none of them sends
    begun = time.monotonic()
    go.set()
    async with asyncio.timeout(_TIMEOUT):
        good = sum(await asyncio.gather(*clients))
    return {"good": good, "seconds": time.monotonic() - begun}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_log_in_at_once(*map(int, sys.argv[1:])))))  # noqa: T201
