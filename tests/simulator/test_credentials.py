"""Access tokens: how they are had, how long they are good, and what is said of a bad one."""

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from wxsession.simulator import SettableClock, WeChat

FIRST, SECOND = "wx0000000000000001", "wx0000000000000002"
URL = "/cgi-bin/stable_token"

Fetch = Callable[..., dict[str, object]]


@pytest.fixture
def fetch(http: FlaskClient) -> Fetch:
    """Ask for a token; a parameter that is None is left out."""

    def ask(**changes: object) -> dict[str, object]:
        asked = {
            "grant_type": "client_credential",
            "appid": FIRST,
            "secret": "secret-one",
            **changes,
        }
        wanted = {name: value for name, value in asked.items() if value is not None}
        answer = http.post(URL, json=wanted).get_json()
        assert isinstance(answer, dict)
        return answer

    return ask


@pytest.fixture
def said_of(http: FlaskClient) -> Callable[[object], object]:
    """Use a token for something, and tell which errcode it meets: none is 87009."""

    def errcode(token: object) -> object:
        answer = http.get("/wxa/checksession", query_string={"access_token": str(token)})
        assert isinstance(answer.json, dict)
        return answer.json["errcode"]

    return errcode


SaidOf = Callable[[object], object]
GOOD = 87009


def test_a_token_has_the_shape_of_the_real_ones(fetch: Fetch) -> None:
    answer = fetch()
    assert list(answer) == ["access_token", "expires_in"]
    assert re.fullmatch(r"69_[A-Za-z0-9_-]{136}", str(answer["access_token"]))
    assert answer["expires_in"] == 7200


def test_the_same_token_comes_with_the_time_that_remains(
    fetch: Fetch, clock: SettableClock
) -> None:
    first = fetch()
    clock.advance(seconds=6900)
    assert fetch() == {**first, "expires_in": 300}


def test_in_the_last_five_minutes_there_are_two(
    fetch: Fetch, clock: SettableClock, said_of: SaidOf
) -> None:
    old = fetch()["access_token"]
    clock.advance(seconds=6901)
    new = fetch()
    assert new["access_token"] != old
    assert new["expires_in"] == 7200
    clock.advance(seconds=299.9)
    assert [said_of(old), said_of(new["access_token"])] == [GOOD, GOOD]
    clock.advance(seconds=0.1)
    assert [said_of(old), said_of(new["access_token"])] == [42001, GOOD]


def test_a_token_is_good_for_two_hours(fetch: Fetch, clock: SettableClock, said_of: SaidOf) -> None:
    token = fetch()["access_token"]
    clock.advance(seconds=7199.9)
    assert said_of(token) == GOOD
    clock.advance(seconds=0.1)
    assert said_of(token) == 42001
    assert fetch()["access_token"] != token
    assert said_of(token) == 42001, "a new one does not bring the old one back"


def test_a_forced_refresh_ends_the_old_one_at_once(fetch: Fetch, said_of: SaidOf) -> None:
    old = fetch()["access_token"]
    new = fetch(force_refresh=True)
    assert new["expires_in"] == 7200
    assert [said_of(old), said_of(new["access_token"])] == [40001, GOOD]
    assert fetch() == new


def test_refreshes_are_thirty_seconds_apart(fetch: Fetch, clock: SettableClock) -> None:
    first = fetch(force_refresh=True)
    clock.advance(seconds=29.9)
    assert fetch(force_refresh=True)["access_token"] == first["access_token"]
    clock.advance(seconds=0.1)
    assert fetch(force_refresh=True)["access_token"] != first["access_token"]


def test_a_day_has_twenty_refreshes(fetch: Fetch, clock: SettableClock) -> None:
    for _ in range(20):
        assert fetch(force_refresh=True)["expires_in"] == 7200
        clock.advance(seconds=30)
    assert fetch(force_refresh=True)["errcode"] == 45009
    assert "access_token" in fetch(), "the usual way is still open"
    assert "access_token" in fetch(appid=SECOND, secret="secret-two", force_refresh=True)
    clock.advance(days=1)
    assert "access_token" in fetch(force_refresh=True)


@pytest.mark.parametrize("force", [False, None, "true", 1])
def test_nothing_but_true_forces(fetch: Fetch, force: object) -> None:
    assert fetch() == fetch(force_refresh=force)


def test_each_app_has_its_own_token(fetch: Fetch) -> None:
    assert fetch()["access_token"] != fetch(appid=SECOND, secret="secret-two")["access_token"]


ERRORS: list[tuple[dict[str, object], int, str]] = [
    ({"appid": None}, 41002, "appid missing"),
    ({"appid": ""}, 41002, "appid missing"),
    ({"secret": None}, 41004, "appsecret missing"),
    ({"appid": "wx-unknown"}, 40013, "invalid appid"),
    ({"appid": [FIRST]}, 40013, "invalid appid"),
    ({"grant_type": None}, 40002, "invalid grant_type"),
    ({"grant_type": "authorization_code"}, 40002, "invalid grant_type"),
    ({"secret": "wrong"}, 40125, "invalid appsecret"),
    ({"secret": ["secret-one"]}, 40125, "invalid appsecret"),
]


@pytest.mark.parametrize(("changes", "errcode", "errmsg"), ERRORS)
def test_each_mistake_has_its_error_and_its_words(
    wechat: WeChat, fetch: Fetch, changes: dict[str, object], errcode: int, errmsg: str
) -> None:
    answer = fetch(**changes)
    assert answer["errcode"] == errcode
    assert re.fullmatch(f"{errmsg} rid: {RID}", str(answer["errmsg"]))
    assert wechat.token_fetches == 0


RID = "[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"


def test_of_two_mistakes_the_earlier_check_speaks(fetch: Fetch) -> None:
    for position, (first, errcode, _) in enumerate(ERRORS):
        for second, _, _ in ERRORS[position:]:
            assert fetch(**{**second, **first})["errcode"] == errcode, (first, second)


def test_a_stranger_gets_no_token(wechat: WeChat, fetch: Fetch) -> None:
    wechat.set_ip_whitelist({"47.1.2.3"})
    answer = fetch(secret="wrong")
    assert answer["errcode"] == 40164
    assert str(answer["errmsg"]).startswith(
        "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist rid: "
    )


def test_a_token_is_not_to_be_had_by_get(http: FlaskClient) -> None:
    answer = http.get(URL, query_string={"appid": FIRST, "secret": "secret-one"}).get_json()
    assert answer["errcode"] == 43002
    assert answer["errmsg"].startswith("require POST method rid: ")


@pytest.mark.parametrize(
    ("body", "errcode"),
    [(b"", 44002), (b"appid=wx", 47001), (b"[]", 47001), (b"\xff", 47001), (b"[" * 99999, 47001)],
)
def test_the_body_has_to_be_a_json_object(http: FlaskClient, body: bytes, errcode: int) -> None:
    answer = http.post(URL, data=body, environ_overrides={"CONTENT_LENGTH": str(len(body))})
    assert answer.json is not None
    assert answer.json["errcode"] == errcode


INVALID = (
    "invalid credential, access_token is invalid or not latest, could get access_token by "
    "getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"
)
USES = [
    ("GET", "/wxa/checksession"),
    ("GET", "/wxa/resetusersessionkey"),
    ("POST", "/wxa/business/getuserphonenumber"),
]


@pytest.mark.parametrize(("method", "url"), USES)
def test_a_bad_token_is_told_in_the_words_of_the_live_wire(
    wechat: WeChat, http: FlaskClient, fetch: Fetch, method: str, url: str
) -> None:
    def said(query: dict[str, str]) -> tuple[int, str]:
        answer = http.open(
            url,
            method=method,
            query_string=query,
            json={"access_token": token} if method == "POST" else None,
            headers={"Authorization": f"Bearer {token}"},
        ).get_json()
        words, _, rid = answer["errmsg"].partition(" rid: ")
        assert re.fullmatch(RID, rid)
        return answer["errcode"], words

    token = str(fetch()["access_token"])
    assert said({}) == (41001, "access_token missing")
    assert said({"access_token": ""}) == (41001, "access_token missing")
    assert said({"access_token": "made-up"}) == (40001, INVALID)
    wechat.expire_tokens()
    assert said({"access_token": token}) == (42001, "access_token expired")


@pytest.mark.parametrize(
    ("end", "errcode"), [(WeChat.expire_tokens, 42001), (WeChat.revoke_tokens, 40001)]
)
def test_a_test_can_end_all_tokens_of_an_app(
    wechat: WeChat,
    fetch: Fetch,
    said_of: SaidOf,
    end: Callable[[WeChat, str | None], None],
    errcode: int,
) -> None:
    token = fetch()["access_token"]
    other = fetch(appid=SECOND, secret="secret-two")["access_token"]
    end(wechat, None)
    assert [said_of(token), said_of(other)] == [errcode, GOOD]
    new = fetch()
    assert new["expires_in"] == 7200
    assert said_of(new["access_token"]) == GOOD
    end(wechat, SECOND)
    assert [said_of(new["access_token"]), said_of(other)] == [GOOD, errcode]


def test_a_token_that_was_ended_stays_so_when_its_app_refreshes(
    wechat: WeChat, fetch: Fetch, said_of: SaidOf
) -> None:
    token = fetch()["access_token"]
    wechat.expire_tokens()
    fetch(force_refresh=True)
    assert said_of(token) == 42001


def test_fetches_are_counted_where_a_token_was_given(wechat: WeChat, fetch: Fetch) -> None:
    fetch()
    fetch()
    fetch(secret="wrong")
    wechat.fail_next(-1)
    fetch()
    assert wechat.token_fetches == 2
    assert wechat.exchanges == []
