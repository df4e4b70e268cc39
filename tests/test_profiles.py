"""Profiles: what a user is called, and what WeChat says about it."""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.databases import ON_BOTH
from tests.support.phone import Answer, Phone, problem
from tests.support.settings import OTHER_APPID
from tests.support.statements import overhearing
from wxsession.services import Services
from wxsession.simulator import Fault, SettableClock, WeChat, open_data

AVATAR = "https://example.org/a.png"


@pytest.fixture(autouse=True)
def logged_in(phone: Phone) -> None:
    assert phone.log_in().status_code == 200


def send(phone: Phone, body: object, path: str = "/user_info", method: str = "POST") -> Answer:
    return phone.send(method, path, json=body, token=phone.token)


def shown(phone: Phone) -> tuple[str | None, str | None]:
    user = phone.send("GET", "/user", token=phone.token).json
    return user["nickname"], user["avatar_url"]


@pytest.mark.parametrize(
    "address",
    [
        "https://thirdwx.qlogo.cn/mmopen/vi_32/Q0j4TwGTfTKiaX-_8BibJ6mAQ/132",
        "http://wx.qlogo.cn/mmhead/ver_1/abc/0",
        "HTTPS://cdn.example.org:8443/a%20b/c(1).png?x=1&y=~!$*+,;:@/?#top",
        "http://[2001:db8::1]/a.png",
        "https://example.org?a",
        "https://example.org",
    ],
)
def test_a_picture_is_at_any_address_that_a_url_may_name(phone: Phone, address: str) -> None:
    send(phone, {"avatar_url": address}, "/user")
    assert shown(phone)[1] == address


@pytest.mark.parametrize(
    "written", ['"', "'", "<", ">", "\\", "`", " ", "^", "{", "|", "é", "%", "%2"]
)
@pytest.mark.parametrize("place", ["https://example.org/{}", "https://a{}b/", "https://a/?{}#{}"])
def test_what_no_url_may_hold_is_refused(phone: Phone, place: str, written: str) -> None:
    answer = send(phone, {"avatar_url": place.replace("{}", written)}, "/user")
    assert problem(answer)[:2] == (400, "invalid_request")
    assert [error["field"] for error in answer.json["errors"]] == ["avatar_url"]
    assert "percent-encoded" in answer.json["errors"][0]["message"]


@ON_BOTH
@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_a_user_changes_and_clears_the_profile(phone: Phone, method: str) -> None:
    send(phone, {"nickname": "Alice", "avatar_url": AVATAR}, "/user", method)
    assert shown(phone) == ("Alice", AVATAR)
    assert send(phone, {"nickname": None}, "/user", method).json["nickname"] is None
    assert shown(phone) == (None, AVATAR)


@pytest.mark.parametrize(
    "body",
    [
        {"nickname": ""},
        {"nickname": "a\nb"},
        {"nickname": "a" * 65},
        {"nickname": " "},
        {"nickname": "\u3164"},
        {"nickname": "\u200b\ufe0f\u2800"},
        {"nickname": "Alice\u202e"},
        {"nickname": "\u2066Alice"},
        {"avatar_url": "javascript:alert(1)"},
        {"avatar_url": "http://[x"},
        {"avatar_url": "http://user:password@127.0.0.1/"},
        {"avatar_url": "http://user@example.org/"},
        {"avatar_url": "https://example.org:/a"},
        {"avatar_url": "https:///a"},
        {"avatar_url": "//example.org/a"},
        {"avatar_url": "https://example.org/a#b#c"},
        {"avatar_url": "https://example.org/a\n"},
        {"avatar_url": "https://example.org/" + "a" * 1024},
        {"username": "root"},
    ],
)
def test_what_is_no_profile_is_refused(phone: Phone, body: dict[str, str]) -> None:
    assert problem(send(phone, body, "/user"))[:2] == (400, "invalid_request")


@ON_BOTH
def test_what_wechat_says_is_kept_and_told_without_ids(phone: Phone, wechat: WeChat) -> None:
    wechat.set_profile("alice", nickName="爱丽丝", avatarUrl=AVATAR)
    answer = send(phone, wechat.user_info("alice"))
    assert answer.json["open_data"]["nickName"] == "爱丽丝"
    assert wechat.openid("alice") not in answer.text
    assert shown(phone) == ("爱丽丝", AVATAR)


@ON_BOTH
@pytest.mark.parametrize(
    "name", ["爱丽丝\u2764\ufe0f", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "a b"]
)
def test_an_emoji_of_several_characters_is_part_of_a_nickname(
    phone: Phone, wechat: WeChat, name: str
) -> None:
    assert send(phone, {"nickname": name}, "/user").json["nickname"] == name
    send(phone, {"nickname": None}, "/user")
    wechat.set_profile("alice", nickName=name)
    assert send(phone, wechat.user_info("alice")).status_code == 200
    assert shown(phone)[0] == name


@pytest.mark.parametrize("name", ["\u3164", "\u200b\u200b", "\u202eecilA"])
def test_a_nickname_of_wechat_that_shows_nothing_changes_nothing(
    phone: Phone, wechat: WeChat, name: str
) -> None:
    send(phone, {"nickname": "Alice"}, "/user")
    wechat.set_profile("alice", nickName=name)
    assert send(phone, wechat.user_info("alice")).status_code == 200
    assert shown(phone)[0] == "Alice"


def test_signed_data_alone_do(phone: Phone, wechat: WeChat) -> None:
    wechat.set_profile("alice", nickName="Alice")
    info = wechat.user_info("alice")
    half = {name: info[name] for name in ("rawData", "signature")}
    assert send(phone, half).status_code == 200
    assert shown(phone)[0] == "Alice"


def test_anonymous_data_change_nothing(phone: Phone, wechat: WeChat) -> None:
    send(phone, {"nickname": "Alice", "avatar_url": AVATAR}, "/user")
    assert send(phone, wechat.user_info("alice")).status_code == 200
    assert shown(phone) == ("Alice", AVATAR)


def test_a_user_may_refuse(phone: Phone) -> None:
    answer = send(phone, {"errMsg": "getUserInfo:fail auth deny"})
    assert (answer.status_code, answer.json["open_data"]) == (200, None)


def test_group_and_steps_are_read(phone: Phone, wechat: WeChat) -> None:
    assert "openGId" in send(phone, wechat.group("alice")).json["open_data"]
    assert len(send(phone, wechat.steps("alice")).json["open_data"]["stepInfoList"]) == 31


@ON_BOTH
def test_a_phone_number_is_kept_and_told_masked(phone: Phone, wechat: WeChat) -> None:
    wechat.set_phone_number("alice", "13800001234")
    answer = send(phone, wechat.phone_number("alice"))
    assert answer.json["open_data"]["purePhoneNumber"] == "138******34"
    assert answer.json["user"]["phone_number"] == "138******34"
    assert "13800001234" not in answer.text


def test_a_key_that_we_never_got_is_stale(
    phone: Phone, wechat: WeChat, clock: SettableClock
) -> None:
    clock.advance(minutes=6)
    wechat.login("alice")
    assert problem(send(phone, wechat.user_info("alice")))[:2] == (409, "session_key_stale")


def test_rawdata_counts_byte_by_byte(phone: Phone, wechat: WeChat) -> None:
    info = wechat.user_info("alice")
    assert problem(send(phone, {**info, "rawData": f"{info['rawData']} "}))[0] == 409


def test_data_of_another_user_or_app_fit_no_key(phone: Phone, wechat: WeChat) -> None:
    wechat.login("alice", OTHER_APPID)
    wechat.login("bob")
    assert problem(send(phone, wechat.user_info("bob")))[0] == 409
    assert problem(send(phone, wechat.user_info("alice", OTHER_APPID)))[0] == 409


@pytest.mark.parametrize("step", [{"minutes": 61}, {"minutes": -6}])
def test_data_of_another_time_are_refused(
    phone: Phone, wechat: WeChat, clock: SettableClock, step: dict[str, int]
) -> None:
    info = wechat.user_info("alice")
    clock.advance(**step)
    assert problem(send(phone, info))[:2] == (400, "watermark_mismatch")


@pytest.mark.parametrize(
    "change",
    [
        {"signature": None},
        {"rawData": None},
        {"iv": None},
        {"encryptedData": None},
        {"iv": "AAAA"},
        {"encryptedData": ""},
        {"encryptedData": "AAAA"},
        {"encryptedData": "A A="},
        {"signature": "x" * 40},
    ],
)
def test_what_has_not_the_form_is_refused(
    phone: Phone, wechat: WeChat, change: dict[str, object]
) -> None:
    answer = send(phone, {**wechat.user_info("alice"), **change})
    assert problem(answer)[:2] == (400, "invalid_request")
    assert {error["field"] for error in answer.json["errors"]} == change.keys()


@pytest.fixture
def checking(make_app: Callable[..., Flask], wechat: WeChat) -> Phone:
    phone = Phone(make_app(check_session_keys="on"), wechat, "carol")
    assert phone.log_in().status_code == 200
    return phone


def test_where_wechat_is_asked_forged_data_are_told_from_stale_ones(
    checking: Phone, wechat: WeChat, clock: SettableClock
) -> None:
    wechat.login("bob")
    assert problem(send(checking, wechat.user_info("bob")))[:2] == (400, "invalid_request")
    clock.advance(minutes=6)
    wechat.login("carol")
    assert problem(send(checking, wechat.user_info("carol")))[:2] == (409, "session_key_stale")


def test_where_wechat_cannot_be_asked_data_are_stale(checking: Phone, wechat: WeChat) -> None:
    wechat.login("bob")
    info = wechat.user_info("bob")
    wechat.fail_next(Fault.CONNECTION_REFUSED, times=2)
    assert problem(send(checking, info))[:2] == (409, "session_key_stale")


def test_user_info_under_the_key_of_an_earlier_login_is_read(
    phone: Phone, wechat: WeChat, clock: SettableClock
) -> None:
    wechat.set_profile("alice", nickName="Alice")
    early = wechat.user_info("alice")
    for _ in range(9):  # for as long as the data are fresh, if there are at most ten keys
        clock.advance(minutes=6)
        phone.log_in()
        assert send(phone, early).json["open_data"]["nickName"] == "Alice"
    clock.advance(minutes=6)
    phone.log_in()
    assert problem(send(phone, early))[:2] == (409, "session_key_stale")


def test_what_is_signed_and_not_encrypted_says_nothing(
    phone: Phone, wechat: WeChat, clock: SettableClock
) -> None:
    key, iv = wechat.session_key("alice"), "r7BXXKkLb8qrSNn05n0qiA=="
    hidden = {"nickName": "Alice", "openId": wechat.openid("alice")}
    encrypted = open_data.compact(open_data.watermarked(hidden, phone.appid, clock()))

    def told(**signed: object) -> Answer:
        raw_data = open_data.compact(signed)
        body = {"rawData": raw_data, "signature": open_data.sign(raw_data, key)}
        body |= {"encryptedData": open_data.encrypt(encrypted, key, iv), "iv": iv}
        return send(phone, body)

    assert told(nickName="Alice", is_demote=True).json["open_data"]["nickName"] == "Alice"
    assert "is_demote" not in told(nickName="Alice", is_demote=True).json["open_data"]
    refused = told(nickName="Mallory", is_demote=True)
    assert problem(refused)[:2] == (400, "invalid_request")
    assert [error["field"] for error in refused.json["errors"]] == ["rawData"]


def test_data_that_name_another_app_are_refused_under_a_fitting_key(
    phone: Phone, wechat: WeChat, clock: SettableClock
) -> None:
    key = wechat.session_key("alice")
    told = {"openGId": "tGabcdefghijklmnopqrstuvwxyz"}
    for appid, status in ((phone.appid, 200), (OTHER_APPID, 400)):
        plaintext = open_data.compact(open_data.watermarked(told, appid, clock()))
        iv = "r7BXXKkLb8qrSNn05n0qiA=="
        body = {"encryptedData": open_data.encrypt(plaintext, key, iv), "iv": iv}
        answer = send(phone, body)
        assert answer.status_code == status
    assert problem(answer)[:2] == (400, "watermark_mismatch")


def test_base64_may_be_broken_into_lines(phone: Phone, wechat: WeChat) -> None:
    info = wechat.user_info("alice")
    broken = "\r\n".join(re.findall(".{1,64}", str(info["encryptedData"])))
    assert send(phone, {**info, "encryptedData": broken}).status_code == 200


def test_a_session_by_password_has_no_key_of_wechats(phone: Phone, wechat: WeChat) -> None:
    desk = Phone(phone.app, wechat, "desk")
    body = {"username": "alice", "password": "correct horse battery"}
    desk.token = desk.send("POST", "/register", json=body).json["session_token"]
    assert problem(send(desk, wechat.user_info("alice")))[:2] == (409, "session_key_stale")
    code = {"code": wechat.phone_code("alice")}
    assert send(desk, code, "/phone_number").status_code == 200


@ON_BOTH
def test_what_is_known_already_is_not_written_again(
    phone: Phone, wechat: WeChat, services: Services
) -> None:
    wechat.set_profile("alice", nickName="Alice", avatarUrl=AVATAR)
    send(phone, wechat.user_info("alice"))
    written: list[str] = []
    with overhearing(
        services.database, before=lambda statement: written.append(statement.split()[0])
    ):
        send(phone, wechat.user_info("alice"))
    assert "UPDATE" not in written


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_nothing_altered_is_taken_for_what_wechat_made(
    phone: Phone, wechat: WeChat, data: st.DataObject
) -> None:
    made = wechat.phone_number("alice")
    name = data.draw(st.sampled_from(["encryptedData", "iv"]))
    whole = b64decode(str(made[name]))
    where = data.draw(st.integers(0, len(whole) * 8 - 1))
    flipped = bytearray(whole)
    flipped[where // 8] ^= 1 << where % 8
    altered = data.draw(
        st.sampled_from([bytes(flipped), whole[: where // 8], whole + bytes(1 + where % 32)])
    )
    body = {n: made[n] for n in ("encryptedData", "iv")} | {name: b64encode(altered).decode()}
    for path in ("/phone_number", "/user_info"):
        status, code, _ = problem(send(phone, body, path))
        assert (status, code) in {
            (400, "invalid_request"),
            (400, "watermark_mismatch"),
            (409, "session_key_stale"),
        }


@ON_BOTH
def test_a_session_key_that_leaked_is_reset_at_wechat(
    app: Flask, phone: Phone, wechat: WeChat
) -> None:
    user_id = phone.check().json["user"]["id"]
    leaked = wechat.session_key("alice")
    command = ["users", "reset-session-keys", user_id]
    said = app.test_cli_runner().invoke(args=command)
    assert said.output == "1 session_keys reset.\n"
    assert wechat.session_key("alice") != leaked
    assert send(phone, wechat.user_info("alice")).status_code == 200
    assert wechat.session_key("alice") not in said.output


def test_a_session_key_that_is_not_wechats_any_more_needs_no_reset(
    app: Flask, phone: Phone, wechat: WeChat, clock: SettableClock
) -> None:
    user_id = phone.check().json["user"]["id"]
    clock.advance(minutes=6)
    wechat.login("alice")
    said = app.test_cli_runner().invoke(args=["users", "reset-session-keys", user_id, "--json"])
    assert '"session_keys_reset": 0' in said.output


def test_data_that_name_another_user_are_refused_under_a_fitting_key(
    phone: Phone, wechat: WeChat, clock: SettableClock
) -> None:
    iv, key = "r7BXXKkLb8qrSNn05n0qiA==", wechat.session_key("alice")
    told = {"openId": wechat.openid("bob"), "nickName": "Bob", "gender": 0, "avatarUrl": AVATAR}
    plaintext = open_data.compact(open_data.watermarked(told, phone.appid, clock()))
    body = {"encryptedData": open_data.encrypt(plaintext, key, iv), "iv": iv}
    assert problem(send(phone, body))[:2] == (400, "watermark_mismatch")
    assert shown(phone) == (None, None)
