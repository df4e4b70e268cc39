"""The recipes for other back ends and proxies: what stands in `recipes/` runs."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.node import run_node
from tests.support.recipes import API_KEY, BackEnd, express, fastapi
from tests.support.service import Service, Simulator, free_port
from tests.support.settings import APPID, OTHER_APPID

NOWHERE: Final = "http://127.0.0.1:9"
BACK_ENDS: Final = [express, fastapi]

Recipe = Callable[[str], BackEnd]


@pytest.fixture(scope="module")
def service(
    simulator: Simulator, migrated_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Return a service with a key for a shop, which may ask for all that it needs."""
    path = shutil.copy(migrated_file, tmp_path_factory.mktemp("recipes"))
    keys = f"shop:{API_KEY}:introspect+users+phone+events"
    with Service(f"sqlite:///{path}", wechat_url=simulator.url, api_keys=keys) as running:
        yield running


@pytest.fixture
def surroundings(service: Service, simulator: Simulator) -> dict[str, str]:
    """Return what a program of a mini-program's has to know."""
    return {"SERVICE": service.url, "SIMULATOR": simulator.url, "APPID": APPID}


@pytest.mark.parametrize("recipe", BACK_ENDS)
def test_a_back_end_lets_its_users_in_and_nobody_else(
    recipe: Recipe, service: Service, surroundings: dict[str, str]
) -> None:
    with recipe(service.url) as back_end:
        environment = surroundings | {"BACK_END": back_end.url, "SIGNED": "1"}
        run_node("--test", "between/recipe.test.js", environment=environment)


@pytest.mark.parametrize("recipe", BACK_ENDS)
def test_while_wxsession_is_down_nobody_is_told_to_log_in(recipe: Recipe) -> None:
    with recipe(NOWHERE) as back_end:
        headers = {"Authorization": "Bearer x.y.z"}
        answer = back_end.http.get(f"{back_end.url}/orders", headers=headers, timeout=30)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_an_express_shop_ships_to_whoever_its_user_becomes(
    service: Service, surroundings: dict[str, str]
) -> None:
    shop = {"WXSESSION": service.url, "API_KEY": API_KEY, "PORT": str(free_port())}
    shop |= {"OTHER_APPID": OTHER_APPID}
    run_node("--test", "between/shop.test.mjs", environment=surroundings | shop)
