"""Developers' own applications with wxsession in them, from the wheel, in empty environments."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import requests
from sqlalchemy import Engine, create_engine, inspect, text

from tests.support.installed import Installed, InstalledServer, install
from tests.support.service import ROOT, Simulator
from tests.support.settings import environment
from wxsession.storage.database import metadata

pytestmark = pytest.mark.long

OURS: Final = {*metadata.tables, "wxsession_version"}
HOSTS: Final = {"users", "sessions", "orders"}
UPGRADE_OURS: Final = ("wxsession", "upgrade-database")
MIGRATE_HOSTS: Final = ("db", "migrate")
UPGRADE_HOSTS: Final = ("db", "upgrade")


@pytest.fixture(scope="module")
def developer(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return an environment with the wheel and what the shop needs besides."""
    packages = f"wxsession[postgresql] @ {wheel.as_uri()}", "flask-sqlalchemy", "flask-migrate"
    return install(tmp_path_factory.mktemp("developer"), *packages)


@dataclass(frozen=True)
class Shop:
    """The shop of `hosts/shop`, over one empty database."""

    installed: Installed
    settings: dict[str, str]
    database: Engine

    def flask(self, *arguments: str) -> str:
        """Return what a flask command of the shop prints; it has to succeed."""
        return self.installed.run(*self.installed.flask("shop", *arguments), **self.settings)

    def tables(self) -> set[str]:
        """Return the names of all tables."""
        return set(inspect(self.database).get_table_names())

    def revisions(self) -> str:
        """Return the text of all revisions of the shop."""
        folder = self.installed.folder / "migrations" / "versions"
        return "\n".join(path.read_text() for path in folder.glob("*.py"))


@pytest.fixture
def shop(developer: Installed, bare_url: str, tmp_path: Path) -> Iterator[Shop]:
    """Return a shop in a folder of its own, with no migrations yet."""
    folder = tmp_path / "shop"
    shutil.copytree(ROOT / "tests" / "hosts" / "shop", folder / "shop")
    (folder / "environment").symlink_to(developer.bin.parent)
    (tmp_path / "not yet").mkdir(exist_ok=True)  # where SQLite's file will be
    database = create_engine(bare_url)
    settings = environment(bare_url) | {"DATABASE_URL": bare_url}
    shop = Shop(Installed(folder), settings, database)
    shop.flask("db", "init")
    yield shop
    database.dispose()


@pytest.mark.parametrize(
    "order",
    [(UPGRADE_OURS, MIGRATE_HOSTS, UPGRADE_HOSTS), (MIGRATE_HOSTS, UPGRADE_HOSTS, UPGRADE_OURS)],
    ids=["ours first", "theirs first"],
)
def test_a_host_and_ours_migrate_one_database_in_either_order(
    shop: Shop, order: tuple[tuple[str, ...], ...]
) -> None:
    for command in order:
        shop.flask(*command)
    assert shop.tables() == {*OURS, *HOSTS, "alembic_version"}
    shop.flask("db", "check")  # fails if autogenerate has anything to propose

    models = shop.installed.folder / "shop" / "models.py"
    more = "    note: Mapped[str | None] = mapped_column(String(64))\n"
    models.write_text(models.read_text() + more)
    for command in order:
        shop.flask(*command)
    assert "note" in {column["name"] for column in inspect(shop.database).get_columns("orders")}
    assert not [name for name in OURS if name in shop.revisions()]

    shop.flask("db", "downgrade", "base")
    assert shop.tables() == {*OURS, "alembic_version"}
    shop.flask(*UPGRADE_HOSTS)
    assert shop.tables() == {*OURS, *HOSTS, "alembic_version"}


def test_customers_log_in_and_order_in_one_database(shop: Shop) -> None:
    for command in (MIGRATE_HOSTS, UPGRADE_HOSTS, UPGRADE_OURS):
        shop.flask(*command)
    simulator = InstalledServer(
        shop.installed, "wxsession.simulator", Simulator.alive, shop.settings
    )
    settings = shop.settings | {"WXSESSION_WECHAT_URL": simulator.url}
    with simulator, InstalledServer(shop.installed, "shop", "/auth/readyz", settings) as server:

        def bearer_of(user: str) -> dict[str, str]:
            wx_login = f"{simulator.url}/simulator/login"
            code = requests.post(wx_login, json={"user": user}, timeout=30).json()["code"]
            log_in = f"{server.url}/auth/login"
            grant = requests.post(log_in, json={"code": code}, timeout=30).json()
            return {"Authorization": f"Bearer {grant['session_token']}"}

        orders = f"{server.url}/orders"
        alice, bob = bearer_of("alice"), bearer_of("bob")
        assert requests.get(orders, timeout=30).status_code == 401
        for what in ("tea", "rice"):
            placed = requests.post(orders, json={"what": what}, headers=alice, timeout=30)
            assert placed.status_code == 201, placed.text
        assert requests.get(orders, headers=alice, timeout=30).json() == {"orders": ["tea", "rice"]}
        assert requests.get(orders, headers=bob, timeout=30).json() == {"orders": []}
    known = "SELECT count(*) FROM users JOIN wxsession_users ON wxsession_id = wxsession_users.id"
    with shop.database.connect() as connection:
        assert connection.execute(text(known)).scalar_one() == 1
