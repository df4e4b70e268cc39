#!/usr/bin/env python3
"""Run the demo behind gunicorn, as a server is deployed: what `make run` does.

Environment: PORT (8000), SIMULATOR_PORT (8001) and CONSOLE_PORT (8002), all on 127.0.0.1; INSTANCE
(instance/ in this checkout), where the database, the keys and the simulator's log are kept.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import click

from wxsession.__main__ import HOST, Demo, demo_options

ROOT = Path(__file__).resolve().parent.parent
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@demo_options
def main(port: int, simulator_port: int, console_port: int | None, instance: Path) -> None:
    """Run all servers until the service stops, or Ctrl-C."""
    demo = Demo(port, simulator_port, console_port, instance)
    try:
        with demo.prepared(), gunicorn(demo) as server:
            demo.print_login()
            sys.exit(f"The service has stopped by itself, with status {server.wait()}; see above.")
    except KeyboardInterrupt:
        click.echo("\nStopped.")


@contextmanager
def gunicorn(demo: Demo) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service until the block ends, which begins as soon as the service answers."""
    meant_for_others = ("WXSESSION_", "FLASK_", "WERKZEUG_", "GUNICORN_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(meant_for_others)}
    direct = {
        "no_proxy": HOST,
        "NO_PROXY": HOST,
    }  # a proxy would look for WeChat on its own machine
    server = subprocess.Popen(  # noqa: S603 - ours
        [sys.executable, "-m", "gunicorn", "--bind", f"{HOST}:{demo.port}", "wsgi:app"],
        env=kept | direct | demo.environment(),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        process_group=0,  # its own: Ctrl-C reaches this program alone, which stops the server
    )
    opener = build_opener(ProxyHandler({}))
    deadline = time.monotonic() + 30
    try:
        while True:
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit("The service does not start.")
            with suppress(OSError, HTTPException), opener.open(f"{demo.service}/readyz", timeout=2):
                break
            time.sleep(0.05)
        yield server
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not cut this short
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


if __name__ == "__main__":
    for each in SIGNALS:
        signal.signal(each, signal.default_int_handler)
    main()
