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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.request import ProxyHandler, build_opener

HOST = "127.0.0.1"
APP = "wx0123456789abcdef:0123456789abcdef0123456789abcdef"  # the secret is invented, too
ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

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


def main() -> None:
    """Run both servers until one of them stops, or Ctrl-C."""
    port, simulator_port = free_port("PORT", 8000), free_port("SIMULATOR_PORT", 8001)
    if port == simulator_port:
        sys.exit("PORT and SIMULATOR_PORT must differ.")
    service, wechat = f"http://{HOST}:{port}", f"http://{HOST}:{simulator_port}"
    instance = Path(os.environ.get("INSTANCE") or ROOT / "instance").resolve()
    instance.mkdir(parents=True, exist_ok=True)
    environment = settings(instance, wechat)
    flask = [str(BIN / "flask"), "--app"]
    upgrade = [*flask, "wsgi", "upgrade-database"]
    if subprocess.run(upgrade, env=environment, cwd=ROOT, check=False).returncode:  # noqa: S603
        sys.exit("The database could not be upgraded; see above.")
    simulate = [*flask, "wxsession.simulator", "run", "--no-reload"]
    simulate += ["--host", HOST, "--port", str(simulator_port)]
    serve = [str(BIN / "gunicorn"), "--bind", f"{HOST}:{port}", "wsgi:app"]
    with (
        (instance / "simulator.log").open("wb") as log,
        running(simulate, f"{wechat}/simulator/exchanges", environment, log) as simulator,
        running(serve, f"{service}/readyz", environment) as server,
    ):
        print_login(service, wechat, log.name, instance / "demo.api-key")
        while simulator.poll() is None and server.poll() is None:
            time.sleep(0.2)
        sys.exit(f"A server has stopped by itself; see above, and {log.name}.")


def free_port(name: str, default: int) -> int:
    """Return the port that the environment names, or the default; nothing listens there."""
    port = os.environ.get(name) or str(default)
    try:
        socket.create_server((HOST, int(port))).close()
    except (ValueError, OverflowError):
        sys.exit(f"{name} is not a port.")
    except OSError:
        other = f"make run {name}={int(port) + 1000}"
        sys.exit(f"Port {port} is taken. Stop what listens there, or choose another: {other}")
    return int(port)


def settings(instance: Path, wechat: str) -> dict[str, str]:
    """Return the environment of both servers: ours, with the demo settings and no others."""
    meant_for_others = ("WXSESSION_", "FLASK_", "WERKZEUG_", "GUNICORN_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(meant_for_others)}
    return {
        **kept,
        "no_proxy": HOST,  # a proxy would look for the simulator on its own machine
        "NO_PROXY": HOST,
        "WXSESSION_DATABASE_URL": f"sqlite:///{instance / 'demo.db'}",
        "WXSESSION_APPS": APP,
        "WXSESSION_SECRET_KEYS": key_in(instance / "demo.key"),
        "WXSESSION_WECHAT_URL": wechat,
        "WXSESSION_API_KEYS": f"demo:{key_in(instance / 'demo.api-key')}",
    }


def key_in(path: Path) -> str:
    """Return the key in that file, made by the first run: what it signed survives a restart."""
    if not path.exists():
        path.touch(mode=0o600)  # readable by us alone, before there is anything to read
        path.write_text(secrets.token_hex(32))
    return path.read_text()


@contextmanager
def running(
    command: list[str], url: str, environment: dict[str, str], log: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends, which begins as soon as the server answers at `url`."""
    server = subprocess.Popen(  # noqa: S603 - ours
        command,
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        process_group=0,  # its own: Ctrl-C reaches this program alone, which stops both servers
    )
    direct = build_opener(ProxyHandler({}))
    deadline = time.monotonic() + 30
    try:
        while True:
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{'The simulator' if log else 'The service'} does not start.")
            with suppress(OSError, HTTPException), direct.open(url, timeout=2):
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


if __name__ == "__main__":
    for each in SIGNALS:
        signal.signal(each, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.stdout.write("\nStopped.\n")
