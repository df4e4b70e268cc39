"""What a phone can send about its user: the profile, the number, the group and the steps."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.simulator.support import APPS, FIRST, SECOND
from wxsession.simulator import SettableClock, WeChat, open_data
from wxsession.simulator.users import Users

Method = Callable[..., dict[str, object]]


def decrypted(
    wechat: WeChat, method: Method, user: str = "alice", appid: str = FIRST
) -> dict[str, object]:
    data, key = method(wechat, user, appid), wechat.session_key(user, appid)
    plain = open_data.decrypt(str(data["encryptedData"]), key, str(data["iv"]))
    payload = json.loads(plain)
    assert isinstance(payload, dict)
    return payload


METHODS: dict[str, Method] = {
    "getUserInfo:ok": WeChat.user_info,
    "getPhoneNumber:ok": WeChat.phone_number,
    "getShareInfo:ok": WeChat.group,
    "getWeRunData:ok": WeChat.steps,
}


@pytest.mark.parametrize("errmsg", METHODS)
def test_data_come_encrypted_and_watermarked(
    wechat: WeChat, clock: SettableClock, errmsg: str
) -> None:
    method = METHODS[errmsg]
    data = method(wechat, "alice")
    readable = {"rawData", "userInfo", "signature"}  # of the profile only
    assert [key for key in data if key not in readable] == ["errMsg", "encryptedData", "iv"]
    assert data["errMsg"] == errmsg
    for appid in APPS:
        mark = {"timestamp": int(clock().timestamp()), "appid": appid}
        payload = decrypted(wechat, method, appid=appid)
        assert list(payload.items())[-1] == ("watermark", mark)
        assert list(mark) == ["timestamp", "appid"]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_data_are_encrypted_with_the_key_after_the_last_login(
    clock: SettableClock, method: Method
) -> None:
    wechat = WeChat(APPS, clock, "always")
    wechat.login("alice")
    wechat.login("alice")
    assert "watermark" in decrypted(wechat, method)


def test_an_unknown_app_has_no_data(wechat: WeChat) -> None:
    for method in METHODS.values():
        with pytest.raises(ValueError, match="app"):
            method(wechat, "alice", "wx-unknown")


def test_the_profile_is_anonymous_by_default(wechat: WeChat) -> None:
    assert wechat.user_info("alice")["rawData"] == (
        '{"nickName":"微信用户","gender":0,"language":"","city":"","province":"","country":"",'
        '"avatarUrl":"https://thirdwx.qlogo.cn/mmopen/vi_32/POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4p'
        'oC6icRiccVGKSyXwibcPq4BWmiaIGuG1icwxaQX6grC9VemZoJ8rg/132"}'
    )


def test_user_info_has_all_that_a_mini_program_gets(clock: SettableClock) -> None:
    wechat = WeChat(APPS, clock, "always")
    wechat.login("alice")
    old = wechat.session_key("alice")
    wechat.login("alice")
    info = wechat.user_info("alice")
    raw_data = str(info["rawData"])
    assert set(info) == {"errMsg", "rawData", "userInfo", "signature", "encryptedData", "iv"}
    assert info["userInfo"] == json.loads(raw_data)
    assert info["signature"] == open_data.sign(raw_data, wechat.session_key("alice"))
    assert info["signature"] != open_data.sign(raw_data, old)


def test_user_info_of_2016_has_the_key_for_its_iv(wechat: WeChat) -> None:
    info, key = wechat.user_info("alice", legacy=True), wechat.session_key("alice")
    assert set(info) == {"errMsg", "rawData", "userInfo", "signature", "encryptData"}
    payload = json.loads(open_data.decrypt(str(info["encryptData"]), key, key))
    assert payload["openId"] == wechat.openid("alice")


def test_the_encrypted_part_names_the_user(wechat: WeChat) -> None:
    payload = decrypted(wechat, WeChat.user_info)
    assert next(iter(payload)) == "openId"
    assert payload["openId"] == wechat.openid("alice")
    assert "unionId" not in payload


def test_in_a_bound_app_it_has_the_unionid_as_well(wechat: WeChat) -> None:
    wechat.bind_open_platform()
    payload = decrypted(wechat, WeChat.user_info)
    assert payload["unionId"] == wechat.unionid("alice")
    assert list(payload)[-2:] == ["unionId", "watermark"]


def test_a_real_profile_appears_if_it_was_set(wechat: WeChat) -> None:
    wechat.set_profile("alice", nickName='Band "🎸"/微', avatarUrl="https://a.example/1", gender=1)
    payload = decrypted(wechat, WeChat.user_info)
    assert payload["nickName"] == 'Band "🎸"/微'
    assert payload["gender"] == 1
    assert payload["city"] == "", "what was not set is anonymous"
    assert decrypted(wechat, WeChat.user_info, "bob")["nickName"] == "微信用户"


def test_a_profile_has_the_fields_that_wechat_has(wechat: WeChat) -> None:
    wrong: list[dict[str, str | int]] = [{"nickname": "Band"}, {"gender": "1"}, {"nickName": 1}]
    for field in wrong:
        with pytest.raises(ValueError, match=next(iter(field))):
            wechat.set_profile("alice", **field)


def test_everybody_has_a_number_that_is_obviously_invented() -> None:
    users = ["alice", "bob", "微信用户", "\ud800"]
    numbers = [str(Users().phone_number(user)["phoneNumber"]) for user in users]
    assert all(re.fullmatch(r"1380000\d{4}", number) for number in numbers)
    assert len(set(numbers)) == 4
    assert numbers == [str(Users().phone_number(user)["phoneNumber"]) for user in users], (
        "an invented number survives a restart"
    )


def test_a_number_is_the_same_encrypted_or_by_code(wechat: WeChat) -> None:
    wechat.set_phone_number("alice", "13800001234")
    payload = decrypted(wechat, WeChat.phone_number)
    payload.pop("watermark")
    assert payload == {
        "phoneNumber": "13800001234",
        "purePhoneNumber": "13800001234",
        "countryCode": "86",
    }
    assert decrypted(wechat, WeChat.phone_number, "bob")["phoneNumber"] != "13800001234"


def test_a_foreign_number_has_its_country_code(wechat: WeChat) -> None:
    wechat.set_phone_number("alice", "5550100", country_code="1")
    payload = decrypted(wechat, WeChat.phone_number)
    assert payload["phoneNumber"] == "15550100"
    assert (payload["purePhoneNumber"], payload["countryCode"]) == ("5550100", "1")


def test_a_number_has_digits_only(wechat: WeChat) -> None:
    for number, code in (("", "86"), ("+8613800001234", "86"), ("138", ""), ("\uff11", "86")):
        with pytest.raises(ValueError, match="digits"):
            wechat.set_phone_number("alice", number, code)


def test_a_group_has_another_id_in_every_app(wechat: WeChat) -> None:
    ids = [
        decrypted(wechat, WeChat.group, user, appid)["openGId"]
        for user, appid in (("alice", FIRST), ("bob", FIRST), ("alice", SECOND))
    ]
    assert ids[0] == ids[1] != ids[2]
    assert all(len(str(group)) == 28 and str(group).startswith("G") for group in ids)


def days(wechat: WeChat) -> list[tuple[int, int]]:
    found = decrypted(wechat, WeChat.steps)["stepInfoList"]
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
