"""Back ends with an API key learn whose session a token is; nobody else does."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus
from uuid import UUID

import pytest
from flask import Flask, Request, Response, jsonify, request
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update
from werkzeug.test import EnvironBuilder, TestResponse

from tests.support.app import TODAY, services_of
from tests.support.databases import ON_BOTH
from tests.support.phone import Answer, Phone, problem
from tests.support.settings import APPID
from tests.support.statements import overhearing
from wxsession.accounts.api_keys import ApiKeys
from wxsession.errors import InvalidApiKey
from wxsession.sessions.session import SessionView
from wxsession.settings import ApiKey
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.tables import audit_events, identities, sessions, users
from wxsession.users.client import ClientInfo
from wxsession.users.user import Identity, User
from wxsession.web.api.proxy import identity_headers
from wxsession.web.request import api_key_of, back_end_of

KEY = "an-api-key-that-is-made-up-for-tests"
SOME_ID = UUID(int=1)
OTHER_KEY = "another-key/that+is%made up"
IDENTITY = {
    "X-Wxsession-User",
    "X-Wxsession-Session",
    "X-Wxsession-Appid",
    "X-Wxsession-Openid",
}


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return a server that two back ends may ask."""
    return make_app(api_keys=f"shop:{KEY},till:{OTHER_KEY}")


def basic(name: str, key: str, *, written: Callable[[str], str] = quote_plus) -> dict[str, str]:
    pair = f"{written(name)}:{written(key)}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


def as_it_is(text: str) -> str:
    """Write a name or a key as curl does."""
    return text


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def introspect(phone: Phone, token: str | None = None, **asked: Any) -> Answer:
    """Ask about this token as the shop does, or about whatever else the request says."""
    asked = {"data": {"token": token or phone.token}, "headers": basic("shop", KEY), **asked}
    return phone.send("POST", "/introspect", **asked)


@ON_BOTH
def test_a_live_token_is_told_with_everything_a_back_end_needs(
    phone: Phone, clock: SettableClock
) -> None:
    grant = phone.log_in().json
    clock.advance(minutes=5)
    answer = introspect(phone)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    with services_of(phone.app).database.statement() as connection:
        openid = connection.execute(identities.select()).one().openid
    now = int(TODAY.timestamp())
    assert answer.json == {
        "active": True,
        "sub": grant["user"]["id"],
        "appid": APPID,
        "openid": openid,
        "iat": now,
        "exp": now + 7 * 86400,
        "auth_time": now,
        "sid": grant["session_id"],
    }


def test_what_a_session_does_not_have_is_missing_from_the_answer(phone: Phone) -> None:
    phone.log_in()
    with services_of(phone.app).database.statement() as connection:
        connection.execute(update(sessions).values(identity_id=None))
        connection.execute(update(users).values(username="alice"))
    told = introspect(phone).json
    assert told["active"] is True
    assert told["username"] == "alice"
    assert told.keys() == {"active", "sub", "username", "iat", "exp", "auth_time", "sid"}


def test_introspection_counts_as_use(phone: Phone, clock: SettableClock) -> None:
    phone.log_in()
    clock.advance(days=6)
    assert introspect(phone).json["exp"] == int(TODAY.timestamp()) + 13 * 86400
    clock.advance(days=6)
    assert phone.check().status_code == 200


def garbage(_phone: Phone, _clock: SettableClock) -> str:
    return "nonsense"


def with_a_nul(_phone: Phone, _clock: SettableClock) -> str:
    return "non\0sense"


def forged(phone: Phone, _clock: SettableClock) -> str:
    token = str(phone.token)
    return token[:-2] + ("AA" if token[-2:] != "AA" else "BA")


def of_another_server(phone: Phone, _clock: SettableClock) -> str:
    with services_of(phone.app).database.statement() as connection:
        connection.execute(sessions.delete())
    return str(phone.token)


def expired(phone: Phone, clock: SettableClock) -> str:
    clock.advance(days=7)
    return str(phone.token)


def ended(phone: Phone, _clock: SettableClock) -> str:
    phone.log_out()
    return str(phone.token)


def superseded(phone: Phone, clock: SettableClock) -> str:
    token = str(phone.token)
    phone.refresh()
    phone.check()
    clock.advance(seconds=30)
    return token


def of_a_disabled_user(phone: Phone, clock: SettableClock) -> str:
    with services_of(phone.app).database.statement() as connection:
        connection.execute(update(users).values(disabled_at=clock()))
    return str(phone.token)


@pytest.mark.parametrize(
    "kind",
    [
        garbage,
        with_a_nul,
        forged,
        of_another_server,
        expired,
        ended,
        superseded,
        of_a_disabled_user,
    ],
)
def test_every_dead_token_is_inactive_and_nothing_else(
    phone: Phone, clock: SettableClock, kind: Callable[[Phone, SettableClock], str]
) -> None:
    phone.log_in()
    answer = introspect(phone, kind(phone, clock))
    assert (answer.status_code, answer.json) == (200, {"active": False})
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [
        basic("shop", KEY),
        basic("till", OTHER_KEY),
        basic("till", OTHER_KEY, written=as_it_is),
        bearer(KEY),
        bearer(OTHER_KEY),
        {"Authorization": basic("shop", KEY)["Authorization"].replace("Basic", "bAsIc ")},
    ],
)
def test_a_back_end_shows_its_key_as_basic_or_as_bearer(
    phone: Phone, headers: dict[str, str]
) -> None:
    phone.log_in()
    assert introspect(phone, headers=headers).json["active"] is True


WRONG = {
    "none": {},
    "empty": {"Authorization": ""},
    "unknown": bearer("a-key-that-nobody-holds"),
    "beginning of one": bearer(KEY[:-1]),
    "name of another": basic("till", KEY),
    "name of another, as it is": basic("shop", OTHER_KEY, written=as_it_is),
    "unknown name": basic("bank", KEY),
    "no name": basic("", KEY),
    "no key": basic("shop", ""),
    "no colon": {"Authorization": "Basic " + base64.b64encode(b"shop").decode()},
    "no base64": {"Authorization": "Basic shop:" + KEY},
    "no UTF-8": {"Authorization": "Basic " + base64.b64encode(b"shop:\xff").decode()},
    "no ASCII": {"Authorization": "Basic \xe9\xff"},
    "no ASCII, bearer": {"Authorization": "Bearer \xe9\xff"},
    "no scheme": {"Authorization": KEY},
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
def test_without_a_key_of_ours_nothing_is_told_and_the_body_is_not_looked_at(
    phone: Phone, headers: dict[str, str]
) -> None:
    phone.log_in()
    for body in ({}, {"data": b"x" * 100_000}, {"data": None, "json": {"token": 1}}):
        answer = introspect(phone, headers=headers, **body)
        assert problem(answer) == (401, "invalid_api_key", None)
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="wxsession"'


def test_wrong_api_keys_are_counted_by_address(phone: Phone) -> None:
    phone.log_in()
    for headers in WRONG.values():
        introspect(phone, headers=headers)
    phone.check()
    introspect(phone)
    phone.send("GET", "/check_session", headers={"X-Wxsession-Api-Key": KEY[:-1]})
    phone.address = "198.51.100.9"
    phone.send("GET", "/check_session", headers={"X-Wxsession-Api-Key": ""}, token=phone.token)
    c = audit_events.c
    query = select(c.client_address, c.count, c.user_id, c.actor)
    with services_of(phone.app).database.statement() as connection:
        counted = connection.execute(query.where(c.event == "api_key.refused")).all()
    assert sorted(tuple(row) for row in counted) == [
        ("198.51.100.9", 1, None, None),
        ("203.0.113.7", len(WRONG) + 1, None, None),
    ]


def test_a_session_token_is_no_api_key(phone: Phone) -> None:
    phone.log_in()
    answer = introspect(phone, headers=bearer(str(phone.token)))
    assert problem(answer) == (401, "invalid_api_key", None)


def test_where_no_back_end_has_a_key_none_is_answered(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    phone = Phone(make_app(), wechat, "alice")
    phone.log_in()
    for headers in WRONG.values():
        answer = introspect(phone, headers=headers)
        assert problem(answer) == (401, "invalid_api_key", None)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"data": b""}, (400, "invalid_request", None)),
        ({"data": {"token": ""}}, (400, "invalid_request", None)),
        ({"data": {"token_type_hint": "access_token"}}, (400, "invalid_request", None)),
        ({"data": {"token": ["a", "b"]}}, (400, "invalid_request", None)),
        ({"data": {"token": ["", "b"]}}, (400, "invalid_request", None)),
        ({"data": {f"field{n}": "x" for n in range(101)}}, (400, "invalid_request", None)),
        ({"data": {"token": "x" * 65536}}, (413, "content_too_large", None)),
        ({"data": None, "json": {"token": "x"}}, (415, "unsupported_media_type", None)),
    ],
)
def test_a_request_that_is_none_is_refused(
    phone: Phone, asked: dict[str, Any], told: tuple[int, str, None]
) -> None:
    assert problem(introspect(phone, **asked)) == told


@pytest.mark.parametrize("raw", [b"token=\xff", b"token=%FF", b"%ED%A0%80=x"])
def test_a_form_that_is_no_utf8_is_refused(phone: Phone, raw: bytes) -> None:
    form = "application/x-www-form-urlencoded"
    answer = introspect(phone, data=raw, content_type=form)
    assert problem(answer) == (400, "invalid_request", None)


def test_a_hint_and_fields_unknown_here_change_nothing(phone: Phone) -> None:
    phone.log_in()
    fields = {"token": phone.token, "token_type_hint": "refresh_token", "resource": ["a", "b"]}
    assert introspect(phone, data=fields).json["active"] is True


def test_a_token_in_the_url_is_never_read(phone: Phone) -> None:
    phone.log_in()
    url = f"/introspect?token={phone.token}"
    answer = phone.send("POST", url, data={}, headers=basic("shop", KEY))
    assert problem(answer) == (400, "invalid_request", None)
    answer = phone.send("POST", url, data={"token": "nonsense"}, headers=basic("shop", KEY))
    assert answer.json == {"active": False}


def request_with(authorization: str) -> Request:
    environ = EnvironBuilder(path="/introspect", method="POST").get_environ()
    return Request({**environ, "HTTP_AUTHORIZATION": authorization})


_bytes = st.binary().map(lambda raw: raw.decode("latin-1"))
_encoded = st.binary().map(lambda raw: base64.b64encode(raw).decode())


@given(
    scheme=st.sampled_from(["Basic ", "Bearer ", "basic", ""]),
    credentials=_bytes | _encoded | st.text(st.characters(max_codepoint=255)),
)
def test_whatever_is_sent_as_an_api_key_is_one_or_is_refused(scheme: str, credentials: str) -> None:
    known = {"shop": ApiKey(KEY, frozenset({"introspect"}))}
    try:
        name, key = api_key_of(request_with(scheme + credentials))
    except InvalidApiKey:
        return
    assert ApiKeys(known, None, None).find(name, key) is None  # type: ignore[arg-type]


# A lone surrogate is no character, and the settings let no colon in.
_part = st.text(st.characters(codec="utf-8", exclude_characters=":"))


@given(name=_part, key=_part, written=st.sampled_from([quote_plus, as_it_is]))
def test_every_name_and_key_survive_the_way_through_basic(
    name: str, key: str, written: Callable[[str], str]
) -> None:
    known = ApiKeys({name: ApiKey(key, frozenset())}, None, None)  # type: ignore[arg-type]
    sent = basic(name, key, written=written)["Authorization"]
    assert back_end_of(request_with(sent), known).name == name


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_check_with_an_api_key_tells_the_proxy_who_it_is(phone: Phone, method: str) -> None:
    phone.log_in()
    headers = {"X-Wxsession-Api-Key": KEY}
    answer = phone.send(method, "/check_session", token=phone.token, headers=headers)
    told = introspect(phone).json
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert {name: answer.headers[name] for name in IDENTITY} == {
        "X-Wxsession-User": told["sub"],
        "X-Wxsession-Session": told["sid"],
        "X-Wxsession-Appid": told["appid"],
        "X-Wxsession-Openid": told["openid"],
    }
    assert answer.json == phone.check().json


def test_a_check_without_an_api_key_has_none_of_these_headers(phone: Phone) -> None:
    phone.log_in()
    assert not IDENTITY & {name for name, _ in phone.check().headers}


def test_a_session_without_wechat_has_no_headers_of_wechat(phone: Phone) -> None:
    phone.log_in()
    with services_of(phone.app).database.statement() as connection:
        connection.execute(update(sessions).values(identity_id=None))
    headers = {"X-Wxsession-Api-Key": KEY}
    answer = phone.send("GET", "/check_session", token=phone.token, headers=headers)
    assert IDENTITY & {name for name, _ in answer.headers} == {
        "X-Wxsession-User",
        "X-Wxsession-Session",
    }


@pytest.mark.parametrize("key", ["", "a-key-that-nobody-holds", f"shop:{KEY}", "\xe9\xff"])
def test_a_check_with_a_wrong_api_key_is_refused_and_counted_before_the_session_is_read(
    phone: Phone, key: str
) -> None:
    phone.log_in()
    asked: list[str] = []

    def remember(statement: str) -> None:
        asked.append(statement.partition(" (")[0])

    headers = {"X-Wxsession-Api-Key": key}
    with overhearing(services_of(phone.app).database, before=remember):
        answer = phone.send("GET", "/check_session", token=phone.token, headers=headers)
    assert problem(answer) == (401, "invalid_api_key", None)
    assert asked[0] == "INSERT INTO wxsession_events"
    assert not [statement for statement in asked if "wxsession_sessions" in statement]


@given(appid=st.text(), openid=st.text())
def test_whatever_an_openid_holds_it_is_one_header_value(appid: str, openid: str) -> None:
    user = User(SOME_ID, None, None, None, None, None)
    view = SessionView(
        session_id=SOME_ID,
        user=user,
        identity=Identity(SOME_ID, appid, openid, None),
        created_at=TODAY,
        auth_time=TODAY,
        expires_in=1,
        absolute_expires_at=TODAY,
        client=ClientInfo(None, None),
    )
    for value in identity_headers(view).values():
        assert all("!" <= character <= "~" for character in value)


@dataclass
class Proxy:
    """A proxy that asks wxsession first, as nginx's auth_request and Traefik's forwardAuth do.

    Behind it is an application that believes its headers; `seen` is what that was last sent.
    """

    auth: Flask
    seen: dict[str, str] = field(default_factory=dict)

    def get(self, headers: dict[str, str]) -> TestResponse:
        """Return what the client is answered."""
        asked = {"Authorization": headers.get("Authorization", ""), "X-Wxsession-Api-Key": KEY}
        verdict = self.auth.test_client().get("/check_session", headers=asked)
        if verdict.status_code != 200:
            return verdict
        mine = {name: value for name, value in headers.items() if "Wxsession" not in name}
        told = {name: verdict.headers[name] for name in IDENTITY if name in verdict.headers}
        return self._behind().test_client().get("/", headers={**mine, **told})

    def _behind(self) -> Flask:
        app = Flask("behind")

        @app.get("/")
        def home() -> Response:
            self.seen = {name: value for name, value in request.headers if "Wxsession" in name}
            return jsonify(hello=self.seen["X-Wxsession-User"])

        return app


FORGED = dict.fromkeys(IDENTITY, "mallory")


def test_behind_a_proxy_the_application_knows_the_user_and_the_client_no_openid(
    phone: Phone,
) -> None:
    phone.log_in()
    proxy = Proxy(phone.app)
    told = introspect(phone).json
    answer = proxy.get({**bearer(str(phone.token)), **FORGED})
    assert answer.status_code == 200
    assert answer.json == {"hello": told["sub"]}
    assert proxy.seen == {
        "X-Wxsession-User": told["sub"],
        "X-Wxsession-Session": told["sid"],
        "X-Wxsession-Appid": told["appid"],
        "X-Wxsession-Openid": told["openid"],
    }
    assert told["openid"] not in answer.text + str(answer.headers)


def test_behind_a_proxy_nobody_gets_in_by_headers_alone(phone: Phone) -> None:
    proxy = Proxy(phone.app)
    assert problem(proxy.get(FORGED)) == (401, "missing_token", None)
    assert problem(proxy.get({**bearer("nonsense"), **FORGED})) == (401, "invalid_token", None)
    assert not proxy.seen


def test_behind_a_proxy_no_forged_openid_takes_the_place_of_one_that_is_not_there(
    phone: Phone,
) -> None:
    phone.log_in()
    with services_of(phone.app).database.statement() as connection:
        connection.execute(update(sessions).values(identity_id=None))
    proxy = Proxy(phone.app)
    assert proxy.get({**bearer(str(phone.token)), **FORGED}).status_code == 200
    assert proxy.seen.keys() == {"X-Wxsession-User", "X-Wxsession-Session"}
