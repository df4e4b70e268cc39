"""Clients that were written before this server, unmodified or as their tutorials have them.

They run in Node, on the double of a phone, against a shop behind gunicorn and a simulated WeChat.
What they saw is printed, in sentences.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests.support.node import run_node
from tests.support.service import Service, Simulator
from tests.support.settings import APPID
from tests.support.wires import API_KEY
from tests.support.wsgi_servers import Gunicorn

IDLE_SECONDS = 2

V1_PACKAGES = ["wafer-client-sdk-0.8.4", "qcloud-weapp-client-sdk-0.7.4"]
PACKAGES = [
    "wafer2-client-sdk-2.1.0",
    "wafer2-client-sdk-2.0.0",
    "wafer2-client-sdk-1.1.3",
    "wafer2-client-sdk-1.1.1",
    *V1_PACKAGES,
]
TUTORIALS = ["onlogin", "onlogin-get", "book", "fetch-code", "code-header"]

OpenShop = Callable[..., Service]
Tell = Callable[..., None]


def at_length(name: str) -> ParameterSet:
    """Mark a client whose turn is in the long lane; one of each kind is in the other."""
    return pytest.param(name, marks=pytest.mark.long)


@pytest.fixture(scope="module")
def open_shop(simulator: Simulator) -> OpenShop:
    """Return a function that prepares a shop; `with` opens it. It is one process, for it counts."""

    def prepare(database_url: str, **settings: str) -> Service:
        return Service(
            database_url,
            wechat_url=simulator.url,
            server=Gunicorn(workers=1),
            module="tests.support.shop:app",
            wechat_timeout="3,1",
            **settings,
        )

    return prepare


@pytest.fixture(scope="module")
def a_file(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Return a function that returns the URL of an empty, migrated SQLite database."""

    def copy() -> str:
        path = tmp_path_factory.mktemp("shop") / "wxsession.db"
        shutil.copy(migrated_file, path)
        return f"sqlite:///{path}"

    return copy


@pytest.fixture(scope="module")
def shop_of_wafer(open_shop: OpenShop, a_file: Callable[[], str]) -> Iterator[Service]:
    """Return a shop whose clients are of wafer."""
    with open_shop(a_file(), dialects="wafer") as shop:
        yield shop


@pytest.fixture(scope="module")
def short_lived(open_shop: OpenShop, a_file: Callable[[], str]) -> Iterator[Service]:
    """Return the same, with sessions that are over as soon as they are not used."""
    idle = f"{IDLE_SECONDS}s"
    with open_shop(a_file(), dialects="wafer", idle_timeout=idle, touch_interval="0") as shop:
        yield shop


@pytest.fixture(scope="module")
def shop_of_tutorials(open_shop: OpenShop, a_file: Callable[[], str]) -> Iterator[Service]:
    """Return a shop that speaks every dialect."""
    with open_shop(a_file(), dialects="all", api_keys=f"back-end:{API_KEY}") as shop:
        yield shop


@pytest.fixture
def tell(simulator: Simulator, capsys: pytest.CaptureFixture[str]) -> Tell:
    """Return a function that runs a story in Node and shows what it says, if all of it holds."""

    def run(
        script: str, name: str, *chapters: str, shop: Service, short: Service | None = None
    ) -> None:
        said = run_node(
            f"conformance/{script}.js",
            name,
            *chapters,
            environment={
                "SERVICE": shop.url,
                "SHORT_LIVED": short.url if short else "",
                "IDLE_SECONDS": str(IDLE_SECONDS),
                "SIMULATOR": simulator.url,
                "APPID": APPID,
                "API_KEY": API_KEY,
            },
        )
        with capsys.disabled():
            print(f"\n{said}", end="")

    return run


@pytest.mark.parametrize("package", [PACKAGES[0], *map(at_length, PACKAGES[1:])])
def test_a_package_of_wafer_works_unchanged(
    package: str, tell: Tell, shop_of_wafer: Service, short_lived: Service
) -> None:
    tell("wafer", package, shop=shop_of_wafer, short=short_lived)


@pytest.mark.long
def test_it_works_on_postgresql_as_well(
    tell: Tell, open_shop: OpenShop, postgresql_url: str, short_lived: Service
) -> None:
    with open_shop(postgresql_url, dialects="wafer") as shop:
        tell("wafer", PACKAGES[0], shop=shop, short=short_lived)


@pytest.mark.parametrize("package", [*map(at_length, PACKAGES[:-1]), PACKAGES[-1]])
def test_a_package_is_recognised_among_clients_of_every_dialect(
    package: str, tell: Tell, shop_of_tutorials: Service
) -> None:
    tell("wafer", package, "the session", "an ended session", shop=shop_of_tutorials)


@pytest.mark.parametrize("tutorial", [TUTORIALS[0], *map(at_length, TUTORIALS[1:])])
def test_a_client_of_a_tutorial_works_as_it_was_written(
    tutorial: str, tell: Tell, shop_of_tutorials: Service
) -> None:
    tell("tutorials", tutorial, shop=shop_of_tutorials)


@pytest.mark.parametrize("package", [V1_PACKAGES[0], at_length(V1_PACKAGES[1])])
def test_a_back_end_of_the_first_generation_works_with_its_package(
    package: str, tell: Tell, shop_of_tutorials: Service
) -> None:
    tell("back-end", package, shop=shop_of_tutorials)


def test_a_sentence_that_does_not_hold_fails_the_story(
    tell: Tell, open_shop: OpenShop, a_file: Callable[[], str]
) -> None:
    with (
        open_shop(a_file(), dialects="onlogin") as deaf,
        pytest.raises(AssertionError, match=r"NOT it stores a skey"),
    ):
        tell("wafer", PACKAGES[0], "the session", shop=deaf, short=deaf)
