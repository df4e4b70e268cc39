"""``python -m wxsession demo``: the service, its console and a simulated WeChat on one machine.

No setting of wxsession is read from the environment: these are demo settings, and they must never
meet a real database.
"""

import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import TypeVar

import click
import requests
from flask import Flask, Response, abort, redirect
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from wxsession.app import create_app
from wxsession.errors import InvalidRequest, WxSessionError
from wxsession.operations.admins.admin import Role
from wxsession.services import EXTENSION, Services
from wxsession.settings import SCOPES, Settings
from wxsession.simulator import create_app as create_simulator
from wxsession.storage.database import connect
from wxsession.storage.migrate import upgrade

F = TypeVar("F", bound=Callable[..., None])

HOST = "127.0.0.1"

_ADMIN = "demo"
_APPID = "wx0123456789abcdef"
_APP = f"{_APPID}:0123456789abcdef0123456789abcdef"  # the secret is invented, too
_LOGIN = r"""
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


@dataclass(frozen=True)
class Demo:
    """Where the servers listen, and the folder with the database, the keys and the log."""

    port: int
    simulator_port: int
    console_port: int | None
    """None: two more than the port of the service."""
    instance: Path

    @property
    def service(self) -> str:
        """The URL of the service."""
        return f"http://{HOST}:{self.port}"

    @property
    def wechat(self) -> str:
        """The URL of the simulated WeChat."""
        return f"http://{HOST}:{self.simulator_port}"

    @property
    def console(self) -> str:
        """The URL of the console: by a name, because a passkey is not for an address."""
        return f"http://localhost:{self.console_port or self.port + 2}"

    def environment(self) -> dict[str, str]:
        """Return the demo settings; the keys survive a restart, and so does what they signed."""
        api_key = _key_in(self.instance / "demo.api-key")
        push = _key_in(self.instance / "demo.push-key")
        return {
            "WXSESSION_DATABASE_URL": f"sqlite:///{(self.instance / 'demo.db').as_posix()}",
            "WXSESSION_APPS": _APP,
            "WXSESSION_SECRET_KEYS": _key_in(self.instance / "demo.key"),
            "WXSESSION_WECHAT_URL": self.wechat,
            "WXSESSION_ISSUER": self.service,
            "WXSESSION_TICKET_AUDIENCES": self.service,
            "WXSESSION_COOKIE": "on",
            "WXSESSION_DEVICE_LOGIN": "on",
            "WXSESSION_PUSH": f"{_APPID}:{push[:20]}:{push[20:63]}",
            "WXSESSION_CONSOLE_URL": self.console,
            "WXSESSION_API_KEYS": f"demo:{api_key}:{'+'.join(SCOPES)}",
        }

    @contextmanager
    def prepared(self) -> Iterator[Settings]:
        """Migrate the database; serve the simulated WeChat and the console until the block ends.

        Raises:
            ClickException: a port is taken, or the folder cannot be used.
        """
        ports = {
            "port": self.port,
            "simulator-port": self.simulator_port,
            "console-port": int(self.console.rpartition(":")[2]),
        }
        if len(set(ports.values())) < len(ports):
            names = ", ".join(f"--{name}" for name in ports)
            raise click.ClickException(f"the ports must differ: {names}")
        for name, port in ports.items():
            _ensure_free(name, port)
        try:
            settings = self._settings()
            log = logging.FileHandler(self.instance / "simulator.log", "w", encoding="utf-8")
        except (OSError, WxSessionError) as error:
            raise click.ClickException(
                f"the demo cannot use {self.instance}: {error}. Move what is there to another"
                " place, or choose another folder with --instance, or INSTANCE in the environment"
            ) from None
        werkzeug = logging.getLogger("werkzeug")  # the simulator's: the service keeps silent
        werkzeug.addHandler(log)
        werkzeug.propagate = False
        wechat = create_simulator(self.environment())
        with (
            _serving(make_server(HOST, self.simulator_port, wechat, threaded=True)),
            self._serving_console(settings, ports["console-port"]),
        ):
            yield settings

    @contextmanager
    def _serving_console(self, settings: Settings, port: int) -> Iterator[None]:
        """Serve the console until the block ends, if its packages are there."""
        if not has_console():
            yield
            return
        console = _console(settings, _key_in(self.instance / "demo.console-key"))
        with _serving(make_server(HOST, port, console, threaded=True, request_handler=_Silent)):
            yield

    def _settings(self) -> Settings:
        """Return the settings of a demo whose database is migrated."""
        self.instance.mkdir(parents=True, exist_ok=True)
        settings = Settings.read(self.environment())
        database = connect(settings.database_url)
        upgrade(database)
        database.close()
        return settings

    def print_login(self) -> None:
        """Print one login, from the code to the logout, as lines for a shell."""
        proxied = any(os.environ.get(name) for name in ("http_proxy", "all_proxy", "ALL_PROXY"))
        direct = f"\nexport no_proxy={HOST}" if proxied else ""
        shell = " (Git Bash or WSL)" if os.name == "nt" else ""
        click.echo(
            f"\nThe service is at {self.service}, a simulated WeChat at {self.wechat}"
            f" (its log: {self.instance / 'simulator.log'}).\n"
            f"A login, a check, a refresh and a logout, to paste into another terminal{shell}:\n"
            f"{direct}{_LOGIN.format(service=self.service, wechat=self.wechat)}"
            f"\n{self._way_in()}\n"
            f"The API key of a back end named demo is in {self.instance / 'demo.api-key'}.\n"
            "Ctrl-C stops everything."
        )

    def _way_in(self) -> str:
        if not has_console():
            return (
                "There is a console as well: pip install 'wxsession[console]', and run this again."
            )
        key = _key_in(self.instance / "demo.console-key")
        return f"The console, for you alone: {self.console}/demo/{key}"


def demo_options(command: F) -> F:
    """Add the options of a demo to a command, which can be given as PORT and so on as well."""
    port = click.IntRange(1, 65535)
    folder = click.Path(path_type=Path, file_okay=False, resolve_path=True)
    for option in (
        click.option("--instance", type=folder, default="instance", envvar="INSTANCE"),
        click.option("--console-port", type=port, default=None, envvar="CONSOLE_PORT"),
        click.option("--simulator-port", type=port, default=8001, envvar="SIMULATOR_PORT"),
        click.option("--port", type=port, default=8000, envvar="PORT"),
    ):
        command = option(command)
    return command


@click.group()
def main() -> None:
    """Try wxsession on this machine. To administer a server: flask --app wsgi --help."""


@main.command()
@demo_options
def demo(port: int, simulator_port: int, console_port: int | None, instance: Path) -> None:
    """Run the service with a simulated WeChat; print a login to try, and a way to the console."""
    here = Demo(port, simulator_port, console_port, instance)
    try:
        with here.prepared() as settings:
            app = create_app(settings, http=_direct())
            server = make_server(HOST, port, app, threaded=True, request_handler=_Silent)
            here.print_login()
            server.serve_forever()  # returns at Ctrl-C
    except KeyboardInterrupt:
        pass
    click.echo("\nStopped.")


class _Silent(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


@contextmanager
def _serving(server: BaseWSGIServer) -> Iterator[None]:
    """Let a server serve in a thread of its own until the block ends."""
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()


def has_console() -> bool:
    """Return whether the packages of the extra ``console`` are installed."""
    return all(find_spec(name) for name in ("pyotp", "segno", "webauthn"))


def _console(settings: Settings, key: str) -> Flask:
    """Return the console, with a way in that only the demo has: by a key, for one who owns it."""
    from wxsession.console import create_console  # noqa: PLC0415 - its packages may be missing
    from wxsession.console.admission import client_of_request, keep_signed_in  # noqa: PLC0415

    console = create_console(settings, http=_direct())
    services: Services = console.extensions[EXTENSION]
    with suppress(InvalidRequest):  # it was there already
        services.admins.add(_ADMIN, Role.OWNER, actor=_ADMIN)
    (admin,) = (one for one in services.admins.every() if one.name == _ADMIN)

    @console.get("/demo/<given>")
    def enter(given: str) -> Response:
        if not secrets.compare_digest(given.encode(), key.encode()):
            abort(404)
        with services.database.transaction() as transaction:
            token = services.admin_sessions.begin(transaction, admin, client_of_request())
        return keep_signed_in(redirect("/", 303), token)  # type: ignore[arg-type]

    return console


def _direct() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # a proxy would look for the simulator on its own machine
    return session


def _ensure_free(name: str, port: int) -> None:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        raise click.ClickException(
            f"port {port} is taken. Stop what listens there, or choose another with --{name}, or"
            f" {name.replace('-', '_').upper()} in the environment"
        ) from None


def _key_in(path: Path) -> str:
    """Return the key in that file, made by the first run."""
    if not path.exists():
        path.touch(mode=0o600)  # readable by us alone, before there is anything to read
        path.write_text(secrets.token_hex(32), encoding="ascii")
    return path.read_text(encoding="ascii")


if __name__ == "__main__":
    main(prog_name="python -m wxsession")
