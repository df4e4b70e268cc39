#!/usr/bin/env python3
"""Run the service against a simulated WeChat, and print a login to try: what `make run` does.

Environment: PORT (8000) and SIMULATOR_PORT (8001), both on 127.0.0.1; INSTANCE (instance/ in this
checkout), where the database, the keys and the simulator's log are kept. No setting of
wxsession is read from it: these are demo settings, and they must never meet a real database.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from types import FrameType

HOST = "127.0.0.1"
APPID = "wx0123456789abcdef"
APP_SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of an app that is invented, too

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PATIENCE = 30.0
GRACE = 10.0

LOGIN = r"""
code=$(curl -sS -X POST {wechat}/simulator/login | sed 's/.*"code": *"\([^"]*\)".*/\1/')
grant=$(curl -sS -H 'Content-Type: application/json' -d "{{\"code\": \"$code\"}}" {service}/login)
printf '%s\n' "$grant"
token=$(printf '%s\n' "$grant" | sed 's/.*"session_token": *"\([^"]*\)".*/\1/')
curl -sS -w '\n' -H "Authorization: Bearer $token" {service}/check_session
grant=$(curl -sS -X POST -H "Authorization: Bearer $token" {service}/refresh)
printf '%s\n' "$grant"
token=$(printf '%s\n' "$grant" | sed 's/.*"session_token": *"\([^"]*\)".*/\1/')
curl -sS -w '%{{http_code}}\n' -X POST -H "Authorization: Bearer $token" {service}/logout
curl -sS -w '\n' -H "Authorization: Bearer $token" {service}/check_session
"""


class Stopped(Exception):
    """Somebody asked this program to stop."""


class Failed(Exception):
    """It cannot run; the message says why."""


def main() -> None:
    """Run both servers until one of them stops, or Ctrl-C.

    Raises:
        Failed: a port is taken, or a server does not start or stopped by itself.
        Stopped: by Ctrl-C or by a signal.
    """
    port, simulator_port = port_of("PORT", 8000), port_of("SIMULATOR_PORT", 8001)
    if port == simulator_port:
        raise Failed("PORT and SIMULATOR_PORT must differ.")
    require_free("PORT", port)
    require_free("SIMULATOR_PORT", simulator_port)
    instance = Path(os.environ.get("INSTANCE") or ROOT / "instance").resolve()
    instance.mkdir(parents=True, exist_ok=True)
    service, wechat = f"http://{HOST}:{port}", f"http://{HOST}:{simulator_port}"
    environment = settings(instance, wechat)
    migrate(environment)
    with ExitStack() as stack:
        log = stack.enter_context((instance / "simulator.log").open("wb"))
        simulated = [flask(), "--app", "wxsession.simulator", "run", "--no-reload"]
        simulated += ["--host", HOST, "--port", str(simulator_port)]
        simulator = stack.enter_context(running(simulated, environment, log.fileno()))
        await_answer("The simulator", simulator, f"{wechat}/simulator/exchanges")
        served = [str(BIN / "gunicorn"), "--bind", f"{HOST}:{port}", "wsgi:app"]
        server = stack.enter_context(running(served, environment))
        await_answer("The service", server, f"{service}/readyz")
        print_login(service, wechat, log.name, instance / "demo.api-key")
        while server.poll() is None and simulator.poll() is None:
            time.sleep(0.2)
        raise Failed(f"A server has stopped by itself; see above, and {log.name}.")


def port_of(name: str, default: int) -> int:
    """Return the port that the environment names, or the default."""
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):  # noqa: PLR2004
        raise Failed(f"{name} is not a port.")
    return int(text)


def require_free(name: str, port: int) -> None:
    """Fail, and say why, if something listens on that port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of a run just ended
        try:
            probe.bind((HOST, port))
        except OSError:
            raise Failed(
                f"Port {port} is taken. Stop what listens there, or choose another:"
                f" make run {name}={port + 1000}"
            ) from None


def settings(instance: Path, wechat: str) -> dict[str, str]:
    """Return the environment of both servers: ours, with the demo settings and no others."""
    meant_for_others = ("WXSESSION_", "FLASK_", "WERKZEUG_", "GUNICORN_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(meant_for_others)}
    return {
        **kept,
        "no_proxy": HOST,  # a proxy would look for the simulator on its own machine
        "NO_PROXY": HOST,
        "WXSESSION_DATABASE_URL": f"sqlite:///{instance / 'demo.db'}",
        "WXSESSION_APPS": f"{APPID}:{APP_SECRET}",
        "WXSESSION_SECRET_KEYS": drawn(instance / "demo.key"),
        "WXSESSION_WECHAT_URL": wechat,
        "WXSESSION_API_KEYS": f"demo:{drawn(instance / 'demo.api-key')}",
    }


def drawn(path: Path) -> str:
    """Return the key in that file, drawn at the first run: so what it signed survives a restart."""
    if not path.exists():
        path.touch(mode=0o600)  # readable by us alone, before there is anything to read
        path.write_text(secrets.token_hex(32))
    return path.read_text()


def flask() -> str:
    """Return the path of the flask command beside this Python."""
    return str(BIN / "flask")


def migrate(environment: dict[str, str]) -> None:
    """Bring the demo database to the newest revision."""
    command = [flask(), "--app", "wsgi", "upgrade-database"]
    done = subprocess.run(command, env=environment, cwd=ROOT, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise Failed("The database could not be upgraded; see above.")


@contextmanager
def running(
    command: list[str], environment: dict[str, str], log: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; it is asked to stop, and killed if it does not."""
    # In a group of its own: Ctrl-C in the terminal reaches this program alone, which stops both.
    server = subprocess.Popen(  # noqa: S603 - ours
        command,
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        process_group=0,
    )
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def await_answer(what: str, server: subprocess.Popen[bytes], url: str) -> None:
    """Return as soon as that server answers."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError, HTTPException), direct.open(url, timeout=2):
            return
        time.sleep(0.05)
    raise Failed(f"{what} does not start.")


def print_login(service: str, wechat: str, log: str, api_key: Path) -> None:
    """Print one login, from the code to the logout, as lines for a shell."""
    proxied = any(os.environ.get(name) for name in ("http_proxy", "all_proxy", "ALL_PROXY"))
    direct = f"\nexport no_proxy={HOST}" if proxied else ""
    sys.stdout.write(
        f"\nThe service is at {service}, a simulated WeChat at {wechat} (its log: {log}).\n"
        "A login, a check, a refresh and a logout, to paste into another terminal:\n"
        f"{direct}{LOGIN.format(service=service, wechat=wechat)}"
        f"\nThe API key of a back end named demo is in {api_key}.\n"
        "Ctrl-C stops both.\n"
    )
    sys.stdout.flush()


def stop(_number: int, _frame: object) -> None:
    """Leave through every `finally`; a second Ctrl-C must not cut that short."""
    on_signals(signal.SIG_IGN)
    raise Stopped


def on_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    """Handle alike whatever may ask this program to stop."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


if __name__ == "__main__":
    on_signals(stop)
    try:
        main()
    except Failed as reason:
        sys.exit(str(reason))
    except Stopped:
        sys.stdout.write("\nStopped.\n")
