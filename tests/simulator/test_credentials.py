"""Access tokens: how a server gets one, how long it is valid, and how a bad one is refused."""

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from tests.simulator.support import APPS, FIRST, RID, SECOND, token_body
from wxsession.simulator import SettableClock, WeChat

URL = "/cgi-bin/stable_token"

Fetch = Callable[..., dict[str, object]]
ErrcodeOf = Callable[[object], object]

VALID = 87009  # a valid token, and no signature


@pytest.fixture
def fetch(http: FlaskClient) -> Fetch:
    """Ask for a token; a parameter that is None is left out."""

    def fetched(**changes: object) -> dict[str, object]:
        answer = http.post(URL, json=token_body(**changes)).get_json()
        assert isinstance(answer, dict)
        return answer

    return fetched


@pytest.fixture
def errcode_of(http: FlaskClient) -> ErrcodeOf:
    """Use a token at another endpoint, and return the errcode: `VALID` if the token is."""

    def errcode(token: object) -> object:
        answer = http.get("/wxa/checksession", query_string={"access_token": str(token)})
        assert isinstance(answer.json, dict)
        return answer.json["errcode"]

    return errcode


def test_a_token_looks_like_the_real_ones(fetch: Fetch) -> None:
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
    fetch: Fetch, clock: SettableClock, errcode_of: ErrcodeOf
) -> None:
    old = fetch()["access_token"]
    clock.advance(seconds=6901)
    new = fetch()
    assert new["access_token"] != old
    assert new["expires_in"] == 7200
    clock.advance(seconds=299.9)
    assert [errcode_of(old), errcode_of(new["access_token"])] == [VALID, VALID]
    clock.advance(seconds=0.1)
    assert [errcode_of(old), errcode_of(new["access_token"])] == [42001, VALID]


def test_a_token_is_valid_for_two_hours(
    fetch: Fetch, clock: SettableClock, errcode_of: ErrcodeOf
) -> None:
    token = fetch()["access_token"]
    clock.advance(seconds=7199.9)
    assert errcode_of(token) == VALID
    clock.advance(seconds=0.1)
    assert errcode_of(token) == 42001
    assert fetch()["access_token"] != token
    assert errcode_of(token) == 42001, "a new one does not bring the old one back"


def test_a_forced_refresh_ends_the_old_one_at_once(fetch: Fetch, errcode_of: ErrcodeOf) -> None:
    old = fetch()["access_token"]
    new = fetch(force_refresh=True)
    assert new["expires_in"] == 7200
    assert [errcode_of(old), errcode_of(new["access_token"])] == [40001, VALID]
    assert fetch() == new


def test_only_true_forces_a_refresh(fetch: Fetch) -> None:
    first = fetch()
    for force in (False, None, "true", 1):
        assert fetch(force_refresh=force) == first, force


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
    assert "access_token" in fetch(), "without force it still works"
    assert "access_token" in fetch(appid=SECOND, secret=APPS[SECOND], force_refresh=True)
    clock.advance(days=1)
    assert "access_token" in fetch(force_refresh=True)


def test_each_app_has_its_own_token(fetch: Fetch) -> None:
    assert fetch()["access_token"] != fetch(appid=SECOND, secret=APPS[SECOND])["access_token"]


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


def test_each_mistake_has_its_error_and_its_message(wechat: WeChat, fetch: Fetch) -> None:
    for changes, errcode, errmsg in ERRORS:
        answer = fetch(**changes)
        assert answer["errcode"] == errcode, changes
        assert re.fullmatch(f"{errmsg} rid: {RID}", str(answer["errmsg"]))
    assert wechat.token_fetches == 0


def test_of_two_mistakes_the_one_that_is_checked_first_is_answered(fetch: Fetch) -> None:
    for position, (first, errcode, _) in enumerate(ERRORS):
        for second, _, _ in ERRORS[position:]:
            assert fetch(**{**second, **first})["errcode"] == errcode, (first, second)


def test_an_address_that_is_not_on_the_whitelist_gets_no_token(
    wechat: WeChat, fetch: Fetch
) -> None:
    wechat.set_ip_whitelist({"47.1.2.3"})
    answer = fetch(secret="wrong")
    assert answer["errcode"] == 40164
    assert str(answer["errmsg"]).startswith(
        "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist rid: "
    )


def test_a_get_does_not_fetch_a_token(http: FlaskClient) -> None:
    answer = http.get(URL, query_string={"appid": FIRST, "secret": APPS[FIRST]}).get_json()
    assert answer["errcode"] == 43002
    assert answer["errmsg"].startswith("require POST method rid: ")


def test_the_body_must_be_a_json_object(http: FlaskClient) -> None:
    for body in (b"", b"appid=wx", b"[]", b"\xff", b"[" * 99999):
        length = {"CONTENT_LENGTH": str(len(body))}
        answer = http.post(URL, data=body, environ_overrides=length).get_json()
        assert answer["errcode"] == (47001 if body else 44002), body[:9]


INVALID = (
    "invalid credential, access_token is invalid or not latest, could get access_token by "
    "getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"
)


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "/wxa/checksession"),
        ("GET", "/wxa/resetusersessionkey"),
        ("POST", "/wxa/business/getuserphonenumber"),
    ],
)
def test_a_bad_token_is_refused_with_the_messages_of_the_live_endpoints(
    wechat: WeChat, http: FlaskClient, fetch: Fetch, method: str, url: str
) -> None:
    token = str(fetch()["access_token"])

    def refused(query: dict[str, str]) -> tuple[int, str]:
        answer = http.open(
            url,
            method=method,
            query_string=query,
            json={"access_token": token} if method == "POST" else None,
            headers={"Authorization": f"Bearer {token}"},
        ).get_json()
        errmsg, _, rid = answer["errmsg"].partition(" rid: ")
        assert re.fullmatch(RID, rid)
        return answer["errcode"], errmsg

    assert refused({}) == (41001, "access_token missing")
    assert refused({"access_token": ""}) == (41001, "access_token missing")
    assert refused({"access_token": "made-up"}) == (40001, INVALID)
    wechat.expire_tokens()
    assert refused({"access_token": token}) == (42001, "access_token expired")


@pytest.mark.parametrize(
    ("end", "errcode"), [(WeChat.expire_tokens, 42001), (WeChat.revoke_tokens, 40001)]
)
def test_a_test_can_end_all_tokens_of_an_app(
    wechat: WeChat,
    fetch: Fetch,
    errcode_of: ErrcodeOf,
    end: Callable[[WeChat, str | None], None],
    errcode: int,
) -> None:
    token = fetch()["access_token"]
    other = fetch(appid=SECOND, secret=APPS[SECOND])["access_token"]
    end(wechat, None)
    assert [errcode_of(token), errcode_of(other)] == [errcode, VALID]
    new = fetch()
    assert new["expires_in"] == 7200
    assert errcode_of(new["access_token"]) == VALID
    end(wechat, SECOND)
    assert [errcode_of(new["access_token"]), errcode_of(other)] == [VALID, errcode]


def test_a_token_that_was_ended_stays_so_when_its_app_refreshes(
    wechat: WeChat, fetch: Fetch, errcode_of: ErrcodeOf
) -> None:
    token = fetch()["access_token"]
    wechat.expire_tokens()
    fetch(force_refresh=True)
    assert errcode_of(token) == 42001


def test_fetches_are_counted_if_they_returned_a_token(wechat: WeChat, fetch: Fetch) -> None:
    fetch()
    fetch()
    fetch(secret="wrong")
    wechat.fail_next(-1)
    fetch()
    assert wechat.token_fetches == 2
    assert wechat.exchanges == []
