"""What a phone can hand over in encrypted form, besides its user's profile."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from wxsession.simulator import SettableClock, WeChat, open_data

FIRST, SECOND = "wx0000000000000001", "wx0000000000000002"

Method = Callable[..., dict[str, object]]


def opened(
    wechat: WeChat, method: Method, user: str = "alice", appid: str = FIRST
) -> dict[str, object]:
    data, key = method(wechat, user, appid), wechat.session_key(user, appid)
    plain = open_data.decrypt(str(data["encryptedData"]), key, str(data["iv"]))
    payload = json.loads(plain)
    assert isinstance(payload, dict)
    return payload


METHODS: list[tuple[Method, str]] = [
    (WeChat.phone_number, "getPhoneNumber:ok"),
    (WeChat.group, "getShareInfo:ok"),
    (WeChat.steps, "getWeRunData:ok"),
]


@pytest.mark.parametrize(("method", "errmsg"), METHODS)
def test_data_come_encrypted_and_watermarked(
    wechat: WeChat, clock: SettableClock, method: Method, errmsg: str
) -> None:
    data = method(wechat, "alice")
    assert list(data) == ["errMsg", "encryptedData", "iv"]
    assert data["errMsg"] == errmsg
    for appid in (FIRST, SECOND):
        mark = {"timestamp": int(clock().timestamp()), "appid": appid}
        payload = opened(wechat, method, appid=appid)
        assert list(payload.items())[-1] == ("watermark", mark)


@pytest.mark.parametrize("method", [method for method, _ in METHODS])
def test_the_key_is_that_after_the_last_login(clock: SettableClock, method: Method) -> None:
    wechat = WeChat({FIRST: "secret"}, clock, "always")
    wechat.login("alice")
    wechat.login("alice")
    assert "watermark" in opened(wechat, method)


def test_a_number_is_the_same_old_way_or_new(wechat: WeChat) -> None:
    wechat.set_phone_number("alice", "13800001234")
    payload = opened(wechat, WeChat.phone_number)
    payload.pop("watermark")
    assert payload == {
        "phoneNumber": "13800001234",
        "purePhoneNumber": "13800001234",
        "countryCode": "86",
    }
    assert opened(wechat, WeChat.phone_number, "bob")["phoneNumber"] != "13800001234"


def test_a_group_has_another_name_in_every_app(wechat: WeChat) -> None:
    names = [
        opened(wechat, WeChat.group, user, appid)["openGId"]
        for user, appid in (("alice", FIRST), ("bob", FIRST), ("alice", SECOND))
    ]
    assert names[0] == names[1] != names[2]
    assert all(len(str(name)) == 28 and str(name).startswith("G") for name in names)


def days(wechat: WeChat) -> list[tuple[int, int]]:
    found = opened(wechat, WeChat.steps)["stepInfoList"]
    assert isinstance(found, list)
    assert all(list(day) == ["timestamp", "step"] for day in found)
    return [(day["timestamp"], day["step"]) for day in found]


def test_steps_are_those_of_31_days_in_china(wechat: WeChat) -> None:
    walked = days(wechat)  # it is 22:59 there, on the same day
    today = datetime(2026, 9, 16, 16, tzinfo=UTC)
    expected = [today - timedelta(days=back) for back in range(30, -1, -1)]
    assert [datetime.fromtimestamp(start, UTC) for start, _ in walked] == expected
    assert all(0 <= steps < 20_000 for _, steps in walked)
    assert len({steps for _, steps in walked}) > 20


def test_the_past_does_not_change(wechat: WeChat, clock: SettableClock) -> None:
    before = days(wechat)
    clock.advance(days=1)
    assert days(wechat)[:-1] == before[1:]


@pytest.mark.parametrize("method", [method for method, _ in METHODS])
def test_an_unknown_app_has_no_data(wechat: WeChat, method: Method) -> None:
    with pytest.raises(ValueError, match="app"):
        method(wechat, "alice", "wx-unknown")
