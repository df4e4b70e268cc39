"""The recipes for other back ends and proxies: what stands in `recipes/` runs."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from tests.support.back_ends import Serving, Trusting
from tests.support.node import run_node
from tests.support.phone import same_for_all
from tests.support.recipes import (
    API_KEY,
    GO_OIDC,
    BackEnd,
    Caddy,
    Proxy,
    Traefik,
    express,
    fastapi,
    go,
    go_signed,
)
from tests.support.service import Service, Simulator, code_of, free_port, token_of
from tests.support.settings import APPID, OTHER_APPID, SECRET_KEY
from tests.support.waiting import eventually

NOWHERE: Final = "http://127.0.0.1:9"
NEW_KEY: Final = "another-secret-key-made-up-for-tests"
IDENTITY: Final = (
    *("X-Wxsession-User", "X-Wxsession-Session", "X-Wxsession-Appid", "X-Wxsession-Openid"),
)
with_go: Final = pytest.mark.skipif(shutil.which("go") is None, reason="there is no Go here")
BACK_ENDS: Final = [express, fastapi, pytest.param(go, marks=with_go)]

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
        signed = "0" if recipe is go else "1"  # verified with a package that is not installed here
        environment = surroundings | {"BACK_END": back_end.url, "SIGNED": signed}
        run_node("--test", "between/recipe.test.js", environment=environment)


# Signed tokens: jose on one side, PyJWT on the other.


@pytest.fixture
def make_service(sqlite_url: str, simulator: Simulator) -> Callable[..., Service]:
    """Return a function that makes services of one database, one after another at one address."""
    port = free_port()

    def make(**settings: str) -> Service:
        service = Service(sqlite_url, wechat_url=simulator.url, **settings)  # type: ignore[arg-type]
        service.port, service.url = port, f"http://127.0.0.1:{port}"
        return service

    return make


def signed_token(service: Service, token: str) -> str:
    issued = service.send("POST", "/access_token", token=token).json()
    return str(issued["access_token"])


def status_of(back_end: BackEnd, signed: str) -> int:
    """Return what a back end says to a signed token."""
    bearer = {"Authorization": f"Bearer {signed}"}
    return back_end.http.get(f"{back_end.url}/prices", headers=bearer, timeout=30).status_code


def is_taken(back_end: BackEnd, signed: str) -> bool:
    return status_of(back_end, signed) == 200


def is_refused(back_end: BackEnd, signed: str) -> bool:
    return status_of(back_end, signed) == 401


@pytest.mark.long
def test_both_keys_are_good_during_a_rotation_and_the_old_one_is_not_afterwards(
    make_service: Callable[..., Service], simulator: Simulator
) -> None:
    with ExitStack() as stack:
        with make_service(secret_keys=SECRET_KEY) as before:
            token = token_of(before.log_in(simulator.code("alice")))
            old = signed_token(before, token)
            lasting = [stack.enter_context(recipe(before.url)) for recipe in (express, fastapi)]
            assert [status_of(one, old) for one in lasting] == [200, 200]
        with make_service(secret_keys=f"{SECRET_KEY},{NEW_KEY}") as during:
            new = signed_token(during, token)
            for one in lasting:  # jose asks for keys at most once in a second
                eventually(partial(is_taken, one, new))
            assert [status_of(one, old) for one in lasting] == [200, 200]
        with make_service(secret_keys=NEW_KEY) as after:
            # One that was there before may keep the old key for five minutes.
            started = [stack.enter_context(recipe(after.url)) for recipe in (express, fastapi)]
            assert [status_of(one, new) for one in started] == [200, 200]
            assert [status_of(one, old) for one in started] == [401, 401]


@pytest.mark.long
def test_a_logout_is_seen_within_the_lifetime_of_a_signed_token(
    make_service: Callable[..., Service], simulator: Simulator
) -> None:
    with make_service(access_token_lifetime="5s") as service, ExitStack() as stack:
        back_ends = [stack.enter_context(recipe(service.url)) for recipe in (express, fastapi)]
        token = token_of(service.log_in(simulator.code("alice")))
        signed = signed_token(service, token)
        service.log_out(token)
        assert [status_of(one, signed) for one in back_ends] == [200, 200]  # nobody is asked
        for one in back_ends:
            eventually(partial(is_refused, one, signed))
        assert code_of(service.send("POST", "/access_token", token=token)) == "session_ended"


@pytest.mark.parametrize("recipe", BACK_ENDS)
def test_while_wxsession_is_down_nobody_is_told_to_log_in(recipe: Recipe) -> None:
    with recipe(NOWHERE) as back_end:
        headers = {"Authorization": "Bearer x.y.z"}
        answer = back_end.http.get(f"{back_end.url}/orders", headers=headers, timeout=30)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


@with_go
@pytest.mark.skipif(not GO_OIDC.exists(), reason="there is no go-oidc here")
def test_a_go_shop_without_the_keys_tells_nobody_to_log_in(
    make_service: Callable[..., Service], simulator: Simulator, tmp_path: Path
) -> None:
    with make_service() as service:
        signed = signed_token(service, token_of(service.log_in(simulator.code("alice"))))
        with go_signed(service.url, tmp_path) as back_end:
            assert status_of(back_end, signed) == 200
            assert status_of(back_end, signed[:-4]) == 401
            service.stop()
            assert status_of(back_end, signed) == 200  # it has the keys
        with go_signed(service.url, tmp_path) as back_end:
            bearer = {"Authorization": f"Bearer {signed}"}
            answer = back_end.http.get(f"{back_end.url}/prices", headers=bearer, timeout=30)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert status_of(back_end, "x.y.z") == 401  # for which no keys are needed


def test_an_express_shop_ships_to_whoever_its_user_becomes(
    service: Service, surroundings: dict[str, str]
) -> None:
    shop = {"WXSESSION": service.url, "API_KEY_NAME": "shop", "API_KEY": API_KEY}
    here = {"PORT": str(free_port()), "OTHER_APPID": OTHER_APPID}
    run_node("--test", "between/shop.test.mjs", environment=surroundings | shop | here)


# Proxies that ask before each request.


@pytest.fixture
def application() -> Trusting:
    """Return an application that believes its proxy."""
    return Trusting()


@pytest.fixture(params=[Caddy, Traefik])
def make_proxy(
    request: pytest.FixtureRequest, application: Trusting, tmp_path: Path
) -> Iterator[Callable[[str], Proxy]]:
    """Return a function that starts a proxy before that application; it asks a service."""
    kind: type[Proxy] = request.param
    if shutil.which(kind.program) is None:
        pytest.skip(f"there is no {kind.program} here")
    with ExitStack() as stack:
        behind = stack.enter_context(Serving(application))

        def make(wxsession: str) -> Proxy:
            made = kind(tmp_path, wxsession=wxsession, application=behind.url)
            return stack.enter_context(made)

        yield make


@pytest.fixture
def proxy(make_proxy: Callable[[str], Proxy], service: Service) -> Proxy:
    """Return a proxy that asks our service."""
    return make_proxy(service.url)


def ask(proxy: Proxy, method: str = "GET", **request: Any) -> requests.Response:
    return proxy.http.request(method, f"{proxy.url}/orders/html", timeout=30, **request)


def test_behind_a_proxy_the_client_comes_back_without_a_question(
    proxy: Proxy, surroundings: dict[str, str]
) -> None:
    environment = surroundings | {"BACK_END": proxy.url, "CHECKS": "0"}
    run_node("--test", "between/recovery.test.js", environment=environment)


def test_a_proxy_tells_the_application_who_it_is_and_neither_token_nor_key(
    proxy: Proxy, service: Service, simulator: Simulator, application: Trusting
) -> None:
    by_code = service.log_in(simulator.code("alice")).json()
    body = {"username": f"alice-behind-{proxy.program}", "password": "a long password of a test"}
    by_password = service.send("POST", "/register", json=body).json()
    for grant, known in ((by_code, IDENTITY), (by_password, IDENTITY[:2])):
        bearer = {"Authorization": f"Bearer {grant['session_token']}"}
        answer = ask(
            proxy, "POST", data=b"tea", headers=bearer | dict.fromkeys(IDENTITY, "mallory")
        )
        assert answer.json() == {"orders_of": grant["user"]["id"]}
        told = {name: value for name, value in application.seen.items() if value}
        assert told["X-Wxsession-Session"] == grant["session_id"]
        assert {name for name in told if name.startswith("X-Wxsession")} == set(known), repr(told)
        assert "mallory" not in told.values()
        assert "Authorization" not in told
        assert application.body == b"tea"


SPELLINGS: Final = [("_", "_"), ("-", "_"), ("_", "-"), (".", "~")]


@pytest.mark.parametrize("spelling", SPELLINGS, ids="X{0[0]}Wxsession{0[1]}User".format)
def test_no_other_spelling_of_a_header_tells_the_application_who_it_is(
    proxy: Proxy,
    service: Service,
    simulator: Simulator,
    application: Trusting,
    spelling: tuple[str, str],
) -> None:
    """Many applications cannot tell an underscore from a hyphen, and some any other sign."""
    if isinstance(proxy, Traefik):
        pytest.skip("its entry point does that, and only from 3.7.12 on")
    token = token_of(service.log_in(simulator.code("alice")))
    first, second = spelling
    forged = [f"x{first}wxsession{second}{name.rpartition('-')[2]}" for name in IDENTITY]
    bearer = {"Authorization": f"Bearer {token}"}
    assert ask(proxy, headers=bearer | dict.fromkeys(forged, "mallory")).status_code == 200
    assert "mallory" not in repr(application.seen)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_401_comes_through_a_proxy_with_its_body(
    proxy: Proxy, service: Service, simulator: Simulator, application: Trusting, method: str
) -> None:
    token = service.log_in(simulator.code("alice")).json()["session_token"]
    service.log_out(token)
    refused = ask(proxy, method, data=b"tea", headers={"Authorization": f"Bearer {token}"})
    asked = service.check(token)
    assert (refused.status_code, code_of(refused)) == (401, "session_ended")
    assert refused.headers["WWW-Authenticate"] == asked.headers["WWW-Authenticate"]
    assert same_for_all(refused.json()) == same_for_all(asked.json())
    forged = {"Authorization": "Bearer x"} | dict.fromkeys(IDENTITY, "mallory")
    assert code_of(ask(proxy, method, headers=forged)) == "invalid_token"
    assert not application.seen


@pytest.mark.parametrize("key", ["", "X-Wxsession-Api-Key"])
def test_a_proxy_that_may_not_ask_lets_nobody_in(
    make_proxy: Callable[[str], Proxy],
    sqlite_url: str,
    simulator: Simulator,
    application: Trusting,
    key: str,
) -> None:
    with Service(sqlite_url, wechat_url=simulator.url, api_keys=f"shop:not-{API_KEY}") as service:
        proxy = make_proxy(service.url)
        token = service.log_in(simulator.code("alice")).json()["session_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        brought = {key: f"not-{API_KEY}"} if key else {}  # which a client does not know
        refused = ask(proxy, headers=bearer | brought)
    assert refused.status_code == 401
    assert not application.seen


def test_while_wxsession_is_down_a_proxy_lets_nobody_in_and_tells_nobody_to_log_in(
    make_proxy: Callable[[str], Proxy], application: Trusting
) -> None:
    answer = ask(make_proxy(NOWHERE), headers={"Authorization": "Bearer x"})
    assert answer.status_code >= 500
    assert not application.seen
