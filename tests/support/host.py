"""The shop of `hosts/shop`: installed over one database, served, and with customers."""

import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import requests
from sqlalchemy import Engine, create_engine, inspect
from websockets.sync.client import ClientConnection, connect

from tests.support.installed import Installed, InstalledServer
from tests.support.service import ROOT, Simulator
from tests.support.settings import APPID, environment

PASSWORD = "correct horse battery"

UPGRADE_OURS = ("wxsession", "upgrade-database")
MIGRATE_HOSTS = ("db", "migrate")
UPGRADE_HOSTS = ("db", "upgrade")


@dataclass(frozen=True)
class Shop:
    """The shop in a folder of its own, with `settings` as its environment."""

    installed: Installed
    settings: dict[str, str]
    database: Engine

    def flask(self, *arguments: str) -> str:
        """Return what a flask command of the shop prints; it has to succeed."""
        return self.installed.run(*self.installed.flask("shop", *arguments), **self.settings)

    def migrate(self) -> None:
        """Create all tables, the shop's own and ours."""
        for command in (MIGRATE_HOSTS, UPGRADE_HOSTS, UPGRADE_OURS):
            self.flask(*command)

    def serve(self, module: str = "shop.wsgi") -> InstalledServer:
        """Return the shop as a server that is not started yet."""
        return InstalledServer(self.installed, module, "/auth/readyz", self.settings)

    def tables(self) -> set[str]:
        """Return the names of all tables."""
        return set(inspect(self.database).get_table_names())

    def revisions(self) -> str:
        """Return the text of all revisions of the shop."""
        folder = self.installed.folder / "migrations" / "versions"
        return "\n".join(path.read_text() for path in folder.glob("*.py"))


def set_up(developer: Installed, database_url: str, folder: Path) -> Shop:
    """Return a shop with the packages of a developer, and with no migrations yet."""
    shutil.copytree(ROOT / "tests" / "hosts" / "shop", folder / "shop")
    (folder / "environment").symlink_to(developer.bin.parent)
    settings = environment(database_url) | {"DATABASE_URL": database_url}
    shop = Shop(Installed(folder), settings, create_engine(database_url))
    shop.flask("db", "init")
    return shop


@dataclass
class Customer:
    """A device of somebody who is at the shop, in one of its mini-programs or without any."""

    shop_url: str
    wechat: Simulator
    user: str
    appid: str = APPID
    token: str | None = None
    user_id: str | None = None
    session_id: UUID | None = None

    def log_in(self, credentials: Mapping[str, str] | None = None) -> None:
        """Log in by a code, and with credentials too if there are any."""
        code = self.wechat.code(self.user, self.appid)
        self._keep("/auth/login", {"code": code, "appid": self.appid, **(credentials or {})})

    def log_in_by_password(self, credentials: Mapping[str, str]) -> None:
        """Log in without WeChat."""
        self._keep("/auth/login", credentials)

    def register(self, credentials: Mapping[str, str]) -> None:
        """Become a user with an account, without WeChat."""
        self._keep("/auth/register", credentials)

    def bind(self, credentials: Mapping[str, str]) -> None:
        """Join the account that has these credentials."""
        self._keep("/auth/bind", credentials)

    def unbind(self) -> None:
        """Leave the account."""
        self.send("POST", "/auth/unbind", {}).raise_for_status()

    def log_out(self) -> None:
        """End the session."""
        self.send("POST", "/auth/logout").raise_for_status()

    def order(self, what: str) -> list[str]:
        """Order something, and return all orders."""
        answer = self.send("POST", "/orders", {"what": what})
        assert answer.status_code == 201, answer.text
        orders: list[str] = answer.json()["orders"]
        return orders

    def orders(self) -> list[str]:
        """Return what the shop knows that was ordered."""
        answer = self.send("GET", "/orders")
        assert answer.status_code == 200, answer.text
        orders: list[str] = answer.json()["orders"]
        return orders

    def connect(self) -> AbstractContextManager[ClientConnection]:
        """Open a WebSocket."""
        url = self.shop_url.replace("http:", "ws:") + "/live"
        return connect(url, additional_headers=self._headers(), proxy=None)

    def send(self, method: str, path: str, body: object = None) -> requests.Response:
        """Return the answer to a request, whatever it is."""
        return requests.request(
            method, self.shop_url + path, json=body, headers=self._headers(), timeout=60
        )

    def _headers(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    def _keep(self, path: str, body: object) -> None:
        answer = self.send("POST", path, body)
        answer.raise_for_status()
        grant = answer.json()
        self.token, self.user_id = grant["session_token"], grant["user"]["id"]
        self.session_id = UUID(grant["session_id"])
