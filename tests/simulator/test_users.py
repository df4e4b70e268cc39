"""What wx.getUserInfo hands to a mini-program."""

import json

import pytest

from wxsession.simulator import SettableClock, WeChat, open_data


def opened(wechat: WeChat, user: str) -> dict[str, object]:
    info = wechat.user_info(user)
    plain = open_data.decrypt(str(info["encryptedData"]), wechat.session_key(user), str(info["iv"]))
    payload = json.loads(plain)
    assert isinstance(payload, dict)
    return payload


def test_the_profile_is_anonymous_by_default(wechat: WeChat) -> None:
    assert wechat.user_info("alice")["rawData"] == (
        '{"nickName":"微信用户","gender":0,"language":"","city":"","province":"","country":"",'
        '"avatarUrl":"https://thirdwx.qlogo.cn/mmopen/vi_32/POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4p'
        'oC6icRiccVGKSyXwibcPq4BWmiaIGuG1icwxaQX6grC9VemZoJ8rg/132"}'
    )


def test_the_result_has_all_that_a_mini_program_gets(wechat: WeChat) -> None:
    wechat.login("alice")
    info = wechat.user_info("alice")
    raw_data = str(info["rawData"])
    assert set(info) == {"errMsg", "rawData", "userInfo", "signature", "encryptedData", "iv"}
    assert info["errMsg"] == "getUserInfo:ok"
    assert info["userInfo"] == json.loads(raw_data)
    assert info["signature"] == open_data.sign(raw_data, wechat.session_key("alice"))


def test_the_encrypted_part_names_the_user_and_carries_the_watermark(
    wechat: WeChat, clock: SettableClock
) -> None:
    payload = opened(wechat, "alice")
    assert next(iter(payload)) == "openId"
    assert payload["openId"] == wechat.openid("alice")
    assert "unionId" not in payload
    mark = {"timestamp": int(clock().timestamp()), "appid": "wx0000000000000001"}
    assert list(payload.items())[-1] == ("watermark", mark)
    assert list(mark) == ["timestamp", "appid"]


def test_in_a_bound_app_it_has_the_unionid_as_well(wechat: WeChat) -> None:
    wechat.bind_open_platform()
    payload = opened(wechat, "alice")
    assert payload["unionId"] == wechat.unionid("alice")
    assert list(payload)[-2:] == ["unionId", "watermark"]


def test_it_is_encrypted_with_the_key_after_the_last_login(clock: SettableClock) -> None:
    wechat = WeChat({"wx0000000000000001": "secret"}, clock, "always")
    wechat.login("alice")
    old = wechat.session_key("alice")
    wechat.login("alice")
    assert opened(wechat, "alice")["openId"] == wechat.openid("alice")
    info = wechat.user_info("alice")
    assert info["signature"] != open_data.sign(str(info["rawData"]), old)


def test_a_real_profile_shows_where_one_was_set(wechat: WeChat) -> None:
    wechat.set_profile("alice", nickName='Band "🎸"/微', avatarUrl="https://a.example/1", gender=1)
    payload = opened(wechat, "alice")
    assert payload["nickName"] == 'Band "🎸"/微'
    assert payload["gender"] == 1
    assert opened(wechat, "bob")["nickName"] == "微信用户"


@pytest.mark.parametrize("field", [{"nickname": "Band"}, {"gender": "1"}, {"nickName": 1}])
def test_a_profile_has_the_fields_that_wechat_has(
    wechat: WeChat, field: dict[str, str | int]
) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        wechat.set_profile("alice", **field)
