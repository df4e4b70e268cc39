"""Signed access tokens: verified by other people's libraries, and no session here."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask

from tests.support.app import TODAY
from tests.support.node import run_node
from tests.support.phone import Phone, problem
from tests.support.service import Service, Simulator
from tests.support.settings import APPID, SECRET_KEY, settings_for
from wxsession import WxSession, session_required
from wxsession.simulator import SettableClock, WeChat
from wxsession.web.api import ENDPOINTS

ISSUER = "https://login.example.com"
NEW_KEY = "another-secret-key-made-up-for-tests"
API_KEY = "an-api-key-that-is-made-up-for-tests"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return a server that knows its address, and has every endpoint."""
    return make_app(issuer=ISSUER, device_login="on")


def signed(phone: Phone) -> str:
    """Return a signed access token for the phone's session."""
    answer = phone.send("POST", "/access_token", token=phone.token)
    assert answer.status_code == 200, answer.text
    token: str = answer.json["access_token"]
    return token


def keys(app: Flask) -> dict[str, jwt.PyJWK]:
    """Return what the server publishes, as PyJWT has it."""
    jwks: Any = app.test_client().get("/.well-known/jwks.json").json
    published = jwt.PyJWKSet.from_dict(jwks)
    return {str(key.key_id): key for key in published.keys}


def verified(token: str, known: dict[str, jwt.PyJWK], now: SettableClock) -> dict[str, Any]:
    """Return the claims, as a back end that knows these keys verifies them.

    Raises:
        KeyError: the key is unknown.
        jwt.InvalidTokenError: anything else is wrong.
    """
    header = jwt.get_unverified_header(token)
    assert (header["typ"], header["alg"]) == ("at+jwt", "ES256")
    claims: dict[str, Any] = jwt.decode(
        token,
        known[header["kid"]],
        algorithms=["ES256"],
        issuer=ISSUER,
        audience=ISSUER,
        options={"verify_exp": False, "verify_iat": False, "require": ["exp", "iat", "jti"]},
    )
    if claims["exp"] <= now().timestamp():  # PyJWT asks the system what time it is
        raise jwt.ExpiredSignatureError
    return claims


def test_a_back_end_learns_whose_session_it_is_and_no_openid(
    app: Flask, phone: Phone, clock: SettableClock
) -> None:
    grant = phone.log_in().json
    answer = phone.send("POST", "/access_token", token=phone.token)
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 300)
    assert answer.headers["Cache-Control"] == "no-store"
    claims = verified(answer.json["access_token"], keys(app), clock)
    now = int(TODAY.timestamp())
    assert claims == {
        "iss": ISSUER,
        "sub": grant["user"]["id"],
        "aud": ISSUER,
        "client_id": APPID,
        "sid": grant["session_id"],
        "auth_time": now,
        "iat": now,
        "exp": now + 300,
        "jti": claims["jti"],
        "appid": APPID,
    }


def test_without_wechat_there_is_no_appid(app: Flask, phone: Phone, clock: SettableClock) -> None:
    body = {"username": "alice", "password": "correct horse battery"}
    phone.token = phone.send("POST", "/register", json=body).json["session_token"]
    claims = verified(signed(phone), keys(app), clock)
    assert "appid" not in claims
    assert claims["client_id"] == "wxsession"  # a claim that RFC 9068 wants from everybody


def test_each_token_is_one_of_its_own(app: Flask, phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    assert len({verified(signed(phone), keys(app), clock)["jti"] for _ in range(3)}) == 3


def test_a_logout_is_seen_within_the_lifetime(
    app: Flask, phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    token, known = signed(phone), keys(app)
    phone.log_out()
    refused = phone.send("POST", "/access_token", token=phone.token)
    assert problem(refused) == (401, "session_ended", "logout")
    clock.advance(seconds=299)
    verified(token, known, clock)  # nobody is asked: that is the price
    clock.advance(seconds=1)
    with pytest.raises(jwt.ExpiredSignatureError):
        verified(token, known, clock)


def test_it_does_not_outlive_the_session(
    make_app: Callable[..., Flask], wechat: WeChat, clock: SettableClock
) -> None:
    app = make_app(issuer=ISSUER, idle_timeout="4m", touch_interval="3m")
    phone = Phone(app, wechat, "alice")
    phone.log_in()
    clock.advance(seconds=10)
    claims = verified(signed(phone), keys(app), clock)
    assert claims["exp"] - claims["iat"] == 230


def test_asking_for_one_counts_as_use(phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    clock.advance(days=6)
    signed(phone)
    clock.advance(days=6)
    assert phone.check().status_code == 200


def test_both_keys_verify_during_a_rotation_and_the_old_one_does_not_afterwards(
    make_app: Callable[..., Flask], wechat: WeChat, clock: SettableClock
) -> None:
    before, during, after = (
        make_app(issuer=ISSUER, secret_keys=secrets)
        for secrets in (SECRET_KEY, f"{SECRET_KEY},{NEW_KEY}", NEW_KEY)
    )
    phone = Phone(before, wechat, "alice")
    phone.log_in()
    old = signed(phone)
    phone.app = during
    new = signed(phone)
    assert [len(keys(app)) for app in (before, during, after)] == [1, 2, 1]
    for token in (old, new):
        verified(token, keys(during), clock)
    verified(new, keys(after), clock)
    with pytest.raises(KeyError):
        verified(old, keys(after), clock)
    with pytest.raises(jwt.InvalidSignatureError):
        verified(old, dict.fromkeys(keys(before), next(iter(keys(after).values()))), clock)


def test_a_token_that_was_changed_is_worth_nothing(
    app: Flask, phone: Phone, clock: SettableClock
) -> None:
    phone.log_in()
    header, claims, signature = signed(phone).split(".")
    swapped = claims[:-4] + ("AAAA" if claims[-4:] != "AAAA" else "BBBB")
    with pytest.raises(jwt.InvalidTokenError):
        verified(f"{header}.{swapped}.{signature}", keys(app), clock)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (method, endpoint.path.replace("<uuid:session_id>", "01a1fbd2-0810-7b5c-91e0-3999458c4ac0"))
        for endpoint in ENDPOINTS
        if endpoint.auth.name == "SESSION"
        for method in endpoint.methods
    ],
)
def test_no_call_of_ours_takes_it_for_a_session(phone: Phone, method: str, path: str) -> None:
    phone.log_in()
    body: dict[str, str] | None = None if method == "GET" else {}
    refused = phone.send(method, path, token=signed(phone), json=body)
    if path == "/logout":  # says the same for every token
        assert refused.status_code == 204
        assert phone.check().status_code == 200
    else:
        assert refused.status_code in {400, 401}
        assert problem(refused)[1] in {"invalid_request", "invalid_token"}


def test_introspection_and_the_guard_do_not_take_it_either(
    make_app: Callable[..., Flask], wechat: WeChat, database_url: str
) -> None:
    phone = Phone(make_app(api_keys=f"shop:{API_KEY}"), wechat, "alice")
    phone.log_in()
    key = {"Authorization": f"Bearer {API_KEY}"}
    told = phone.send("POST", "/introspect", data={"token": signed(phone)}, headers=key)
    assert told.json == {"active": False}
    host = Flask("host")
    extension = WxSession(host, settings=settings_for(database_url))
    host.add_url_rule("/orders", view_func=session_required(lambda: "orders"))
    token = signed(phone)
    phone.app = host
    assert problem(phone.send("GET", "/orders", token=token)) == (401, "invalid_token", None)
    extension.services.database.close()


@pytest.mark.parametrize("path", ["/access_token", "/.well-known/jwks.json"])
def test_a_lifetime_of_0_issues_none(
    make_app: Callable[..., Flask], wechat: WeChat, path: str
) -> None:
    phone = Phone(make_app(access_token_lifetime="0"), wechat, "alice")
    phone.log_in()
    method = "POST" if path == "/access_token" else "GET"
    assert problem(phone.send(method, path, token=phone.token)) == (404, "not_found", None)
    assert path not in phone.send("GET", "/openapi.json").json["paths"]


def test_the_metadata_says_where_everything_is_and_may_be_kept(phone: Phone) -> None:
    found = phone.send("GET", "/.well-known/oauth-authorization-server")
    assert found.headers["Cache-Control"] == "public, max-age=300"
    assert found.json == {
        "issuer": ISSUER,
        "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
        "introspection_endpoint": f"{ISSUER}/introspect",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
        "response_types_supported": [],
    }
    kept = phone.send("GET", "/.well-known/jwks.json")
    assert kept.headers["Cache-Control"] == "public, max-age=300"
    assert "d" not in kept.json["keys"][0]


def test_without_signed_tokens_the_metadata_still_says_where_to_introspect(
    make_app: Callable[..., Flask],
) -> None:
    app = make_app(issuer=ISSUER, access_token_lifetime="0")
    found: Any = app.test_client().get("/.well-known/oauth-authorization-server").json
    assert found["introspection_endpoint"] == f"{ISSUER}/introspect"
    assert "jwks_uri" not in found


def test_without_a_setting_the_issuer_is_where_the_request_went(
    make_app: Callable[..., Flask],
) -> None:
    client = make_app(url_prefix="/auth").test_client()
    for path in (  # where it is, and where RFC 8414 looks for it
        "/auth/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/auth",
    ):
        found: Any = client.get(path, base_url="https://shop.example.com").json
        assert found["issuer"] == "https://shop.example.com/auth"
        assert found["jwks_uri"] == "https://shop.example.com/auth/.well-known/jwks.json"


def test_jose_finds_the_keys_by_the_metadata_and_verifies(
    simulator: Simulator, migrated_file: Path, tmp_path: Path
) -> None:
    path = shutil.copy(migrated_file, tmp_path)
    with Service(f"sqlite:///{path}", wechat_url=simulator.url) as service:
        grant = service.log_in(simulator.code("alice")).json()
        issued = service.send("POST", "/access_token", token=grant["session_token"]).json()
        environment = {"ISSUER": service.url, "TOKEN": issued["access_token"]}
        said = json.loads(run_node("verify/jose.mjs", environment=environment))
    assert said["protectedHeader"]["alg"] == "ES256"
    assert said["payload"]["sub"] == grant["user"]["id"]
    assert said["payload"]["sid"] == grant["session_id"]
