"""Developers' own applications with wxsession in them, from the wheel, in empty environments."""

import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest
import requests
from sqlalchemy import inspect, select, text
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.support.host import MIGRATE_HOSTS, UPGRADE_HOSTS, UPGRADE_OURS, Customer, Shop, set_up
from tests.support.installed import Installed, install
from tests.support.node import run_node
from tests.support.postgres import Postgres
from tests.support.service import ROOT, Simulator
from tests.support.settings import APPID, APPS
from wxsession.storage.database import metadata
from wxsession.storage.tables import sessions

pytestmark = pytest.mark.long

OURS: Final = {*metadata.tables, "wxsession_version"}
HOSTS: Final = {"users", "sessions", "orders", "feed_position"}

REQUIREMENTS: Final = ("flask[async]", "flask-migrate", "flask-sock", "flask-sqlalchemy")
TOOLS: Final = ("mypy", "types-flask-migrate")


@pytest.fixture(scope="module")
def developer(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return an environment with the wheel, and what the shop and its developers need besides."""
    ours = f"wxsession[postgresql] @ {wheel.as_uri()}"
    return install(tmp_path_factory.mktemp("developer"), ours, *REQUIREMENTS, *TOOLS)


@pytest.fixture
def shop(developer: Installed, bare_url: str, tmp_path: Path) -> Iterator[Shop]:
    """Return a shop in a folder of its own, with no migrations yet."""
    (tmp_path / "not yet").mkdir(exist_ok=True)  # where SQLite's file will be
    shop = set_up(developer, bare_url, tmp_path / "shop")
    yield shop
    shop.database.dispose()


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
    columns = inspect(shop.database).get_columns("feed_position")
    assert "note" in {column["name"] for column in columns}
    assert not [name for name in OURS if name in shop.revisions()]

    shop.flask("db", "downgrade", "base")
    assert shop.tables() == {*OURS, "alembic_version"}
    shop.flask(*UPGRADE_HOSTS)
    assert shop.tables() == {*OURS, *HOSTS, "alembic_version"}


@dataclass(frozen=True)
class OpenShop:
    """A shop that is served, and the WeChat of its customers."""

    shop: Shop
    wechat: Simulator
    url: str

    def visitor(self) -> Customer:
        """Return somebody who was never here before, and is not logged in."""
        return Customer(self.url, self.wechat, secrets.token_hex(4))

    def customer(self) -> Customer:
        """Return a new customer, who is logged in."""
        customer = self.visitor()
        customer.log_in()
        return customer

    def expiry(self, customer: Customer) -> datetime:
        """Return when the customer's session expires if it is not used any more."""
        found = select(sessions.c.idle_expires_at).where(sessions.c.id == customer.session_id)
        with self.shop.database.connect() as connection:
            expiry: datetime = connection.execute(found).scalar_one()
        return expiry

    def remind(self, customer: Customer) -> str:
        """Return what the job says that reminds somebody of the orders."""
        return self.shop.flask("jobs", "remind", str(customer.session_id)).strip()


@contextmanager
def empty_database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Yield the URL of a database without any table, of the kind that the parameter names."""
    if request.param == "sqlite":
        yield f"sqlite:///{folder / 'shop.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"shop_{secrets.token_hex(8)}"
    server.create_database(name)
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def open_shop(
    request: pytest.FixtureRequest, developer: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenShop]:
    """Return a shop that is served."""
    folder = tmp_path_factory.mktemp("open")
    with empty_database(request, folder) as url, Simulator() as wechat:
        shop = set_up(developer, url, folder / "shop")
        shop.settings["WXSESSION_WECHAT_URL"] = wechat.url
        shop.settings["WXSESSION_TOUCH_INTERVAL"] = "1s"
        shop.migrate()
        with shop.serve() as server:
            yield OpenShop(shop, wechat, server.url)
        shop.database.dispose()


def test_customers_log_in_and_order_in_one_database(open_shop: OpenShop) -> None:
    one, other = open_shop.customer(), open_shop.customer()
    assert open_shop.visitor().send("GET", "/orders").status_code == 401
    for what in ("tea", "rice"):
        one.order(what)
    assert (one.orders(), other.orders()) == (["tea", "rice"], [])
    joined = "SELECT count(*) FROM orders JOIN users ON users.id = orders.user_id"
    joined += " JOIN wxsession_users ON wxsession_users.id = users.wxsession_id"
    with open_shop.shop.database.connect() as connection:
        assert connection.execute(text(joined)).scalar_one() >= 2


def test_every_view_of_a_guarded_blueprint_wants_a_session_an_async_one_too(
    open_shop: OpenShop,
) -> None:
    customer, visitor = open_shop.customer(), open_shop.visitor()
    for path in ("/orders/delivery", "/orders/payment"):
        method = "POST" if path.endswith("payment") else "GET"
        refused = visitor.send(method, path)
        assert (refused.status_code, refused.json()["code"]) == (401, "missing_token")
    told = customer.send("GET", "/orders/delivery")
    assert told.json() == {"for": customer.user_id, "days": 4}
    paid = customer.send("POST", "/orders/payment")
    assert (paid.status_code, paid.json()) == (201, {"paid_by": customer.user_id})


def test_a_page_for_everybody_knows_who_is_there(open_shop: OpenShop) -> None:
    customer = open_shop.customer()
    assert open_shop.visitor().send("GET", "/").json() == {"visitor": None}
    assert customer.send("GET", "/").json() == {"visitor": customer.user_id}
    customer.log_out()
    assert customer.send("GET", "/").json()["code"] == "session_ended"


def farewell(socket: ClientConnection) -> tuple[int, str]:
    """Return with what code and in what words the shop closes a socket, saying nothing else."""
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=30)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def test_a_socket_is_refused_in_words_without_a_session(open_shop: OpenShop) -> None:
    visitor, customer = open_shop.visitor(), open_shop.customer()
    customer.log_out()
    with visitor.connect() as socket:
        assert farewell(socket) == (1008, "invalid_token")
    with customer.connect() as socket:
        assert farewell(socket) == (1008, "session_ended (reason=logout)")


def test_an_open_socket_learns_at_its_next_message_that_the_session_is_over(
    open_shop: OpenShop,
) -> None:
    customer = open_shop.customer()
    with customer.connect() as socket:
        assert socket.recv(timeout=30) == "0"
        customer.order("tea")
        socket.send("and now?")
        assert socket.recv(timeout=30) == "1"
        customer.log_out()
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.5)  # it stays open
        socket.send("and now?")
        assert farewell(socket) == (1008, "the session is over")


def test_a_job_knows_the_customer_by_the_id_of_the_session_and_does_not_use_it(
    open_shop: OpenShop,
) -> None:
    customer = open_shop.customer()
    customer.order("tea")
    expiry = open_shop.expiry(customer)
    time.sleep(1.2)  # longer than WXSESSION_TOUCH_INTERVAL
    assert open_shop.remind(customer) == "somebody has 1 orders"
    assert open_shop.expiry(customer) == expiry
    assert customer.orders() == ["tea"]
    assert open_shop.expiry(customer) > expiry
    customer.log_out()
    assert open_shop.remind(customer) == "nobody to remind"


def test_type_checkers_have_nothing_to_say_about_the_shop(
    developer: Installed, tmp_path: Path
) -> None:
    folder = tmp_path / "hosts"
    shutil.copytree(ROOT / "tests" / "hosts", folder)
    python = str(developer.bin / "python")
    checked = Installed(folder).run(python, "-m", "mypy")
    assert "no issues found in 9 source files" in checked
    checker = "node_modules/pyright/index.js"
    checked = run_node(checker, "--project", str(folder), "--pythonpath", python, environment={})
    assert "0 errors, 0 warnings" in checked


KILLED: Final = """
import os
import signal

from shop import create_app
from shop.customers import on_merge
from wxsession import signals


def die(app, event):
    os.kill(os.getpid(), signal.SIGKILL)


signals.user_merged.disconnect(on_merge)
signals.user_merged.connect(die)
app = create_app()
"""

ALICE: Final = {"username": "alice", "password": "correct horse battery"}
THIRD_APPID: Final = "wx00112233445566aa"
THREE_APPS: Final = APPS | {THIRD_APPID: "app-secret-three-0123456789abcdef"}


class Story:
    """A shop over the years, in which users turn out to be the same."""

    def __init__(self, shop: Shop, wechat: Simulator, module: str) -> None:
        """Start the shop."""
        self.shop = shop
        self.wechat = wechat
        self._module = module
        self._server = shop.serve(module)
        self._server.start()
        self._customers: list[Customer] = []
        self._merges = 0

    def device(self, appid: str = APPID) -> Customer:
        """Return a device of Alice's."""
        device = Customer(self._server.url, self.wechat, "alice", appid)
        self._customers.append(device)
        return device

    def merge(self, act: Callable[[], None]) -> None:
        """Do what makes one of two users, and let the shop hear of it."""
        self._merges += 1
        act()

    def stop(self) -> None:
        """Stop the shop."""
        self._server.stop()

    def _serve(self, module: str) -> None:
        self._server.stop()
        self._server = self.shop.serve(module)
        self._server.start()
        for customer in self._customers:
            customer.shop_url = self._server.url


class StoryOfDeaths(Story):
    """The same, but each merge is the last thing that the shop's process lives to see."""

    def merge(self, act: Callable[[], None]) -> None:
        """Kill the shop between our commit and its handler, and start it again."""
        self._merges += 1
        self._serve("killed")
        with pytest.raises(requests.ConnectionError):
            act()
        assert self._server.wait() == 128 + signal.SIGKILL
        while self.shop.flask("wxsession", "events", "list").count("user.merged") < self._merges:
            time.sleep(0.1)  # the feed shows what is a second old
        self._serve(self._module)


@pytest.fixture(params=[(Story, "shop"), (StoryOfDeaths, "shop.wsgi")], ids=["signal", "feed"])
def story(request: pytest.FixtureRequest, shop: Shop) -> Iterator[Story]:
    """Return a shop that hears of a merge by a signal alone, or by the feed alone."""
    apps = ",".join(f"{appid}:{secret}" for appid, secret in THREE_APPS.items())
    (shop.installed.folder / "killed.py").write_text(KILLED)
    shop.migrate()
    with Simulator(apps=apps) as wechat:
        shop.settings.update(WXSESSION_APPS=apps, WXSESSION_WECHAT_URL=wechat.url)
        kind, module = request.param
        story: Story = kind(shop, wechat, module)
        yield story
        story.stop()


def test_orders_stay_with_their_user_whatever_becomes_of_the_ids(story: Story) -> None:
    phone, tablet, watch = (story.device(appid) for appid in THREE_APPS)
    desk = story.device()
    desk.register(ALICE)
    for device, what in ((desk, "rice"), (phone, "tea"), (tablet, "salt"), (watch, "soap")):
        if device is not desk:
            device.log_in()
        assert device.order(what) == [what]

    story.merge(lambda: phone.bind(ALICE))
    phone.log_in()
    assert phone.orders() == desk.orders() == ["rice", "tea"]

    story.merge(lambda: tablet.log_in(ALICE))
    desk.log_in_by_password(ALICE)
    tablet.log_in()
    assert tablet.orders() == desk.orders() == ["rice", "tea", "salt"]

    for appid in THREE_APPS:
        story.wechat.bind_open_platform(appid)
    phone.log_in()
    story.merge(watch.log_in)
    watch.log_in()
    assert watch.orders() == desk.orders() == ["rice", "tea", "salt", "soap"]

    phone.unbind()
    phone.log_in()
    assert phone.orders() == []
    assert phone.order("oil") == ["oil"]
    assert desk.orders() == tablet.orders() == ["rice", "tea", "salt", "soap"]
