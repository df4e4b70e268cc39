"""What WeChat signs and encrypts: the official vectors, and whatever is no such thing."""

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxsession.simulator import open_data as simulated
from wxsession.wechat.decryption import Undecipherable, decoded, decrypt, is_signed

SIGNED = (
    '{"nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou","province":"Guangdong",'
    '"country":"CN","avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/1vZvI39NWFQ9XM4LtQpFrQJ1xlgZxx3w7'
    'bQxKARol6503Iuswjjn6nIGBiaycAjAtpujxyzYsrztuuICqIM5ibXQ/0"}'
)
SIGNING_KEY = "HyVFkGl5F5OQWJZZaNzBBg=="
SIGNATURE = "75e81ceda165f4ffa64f4068af58c64b8f54b88c"

KEY = "tiihtNczf5v6AKRyjwEUhQ=="
IV = b64decode("r7BXXKkLb8qrSNn05n0qiA==")
ENCRYPTED = (
    "CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS9uT5geRa0W4oTOb1WT7fJlAC+oNPdbB+"
    "3hVbJSRgv+4lGOETKUQz6OYStslQ142dNCuabNPGBzlooOmB231qMM85d2/fV6ChevvXvQP8Hkue1poOFtnEtpyxVLW1zAo6"
    "/1Xx1COxFvrc2d7UL/lmHInNlxuacJXwu0fjpXfz/YqYzBIBzD6WUfTIF9GRHpOn/Hz7saL8xz+W//FRAUid1OksQaQx4CMs"
    "8LOddcQhULW4ucetDf96JcR3g0gfRK4PC7E/r7Z6xNrXd2UIeorGj5Ef7b1pJAYB6Y5anaHqZ9J6nKEBvB4DnNLIVWSgARns"
    "/8wR2SiRS7MNACwTyrGvt9ts8p12PKFdlqYTopNHR1Vf7XjfhQlVsAJdNiKdYmYVoKlaRv85IfVunYzO0IKXsyl7JCUjCpoG"
    "20f0a04COwfneQAGGwd5oa+T8yO5hzuyDb/XcxxmK01EpqOyuxINew=="
)
OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
MARK = '"watermark":{"timestamp":1477314187,"appid":"wx4f4bc4dec97d474b"}'
PHONE = (
    '{"phoneNumber":"13800001234","purePhoneNumber":"13800001234","countryCode":"86",' + MARK + "}"
)


def sealed(text: str) -> bytes:
    return b64decode(simulated.encrypt(text, KEY, "r7BXXKkLb8qrSNn05n0qiA=="))


def test_the_official_signature_is_accepted_and_no_other_byte() -> None:
    assert is_signed(SIGNED, SIGNATURE, SIGNING_KEY)
    assert not is_signed(SIGNED + " ", SIGNATURE, SIGNING_KEY)
    assert not is_signed(SIGNED, SIGNATURE, KEY)


def test_the_official_vector_decrypts() -> None:
    found = decrypt(decoded(ENCRYPTED), IV, KEY)
    assert (found["openId"], found["nickName"]) == (OPENID, "Band")
    assert found["watermark"] == {"timestamp": 1477314187, "appid": "wx4f4bc4dec97d474b"}


def test_base64_may_be_broken_into_lines() -> None:
    lines = "\r\n".join(ENCRYPTED[at : at + 76] for at in range(0, len(ENCRYPTED), 76))
    assert decoded(lines + "\n") == decoded(ENCRYPTED)


@pytest.mark.parametrize("text", ["AA A=", "AA\tA=", "AAA", "AAAA=", "AA-_", "ä", "A\0AA"])
def test_base64_may_hold_nothing_else(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which one is b64decode's own affair
        decoded(text)


@pytest.mark.parametrize("key", ["", "short", "AAAA", "ä" * 24, "*" * 24])
def test_what_is_no_key_opens_nothing(key: str) -> None:
    with pytest.raises(Undecipherable):
        decrypt(decoded(ENCRYPTED), IV, key)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"openGId":"G"}',
        '{"openGId":"G","watermark":1}',
        '{"openGId": "G",' + MARK + "}",
        '{"a":1,"a":1,' + MARK + "}",
        '{"a":NaN,' + MARK + "}",
        '{"a":"\\ud800",' + MARK + "}",
        '{"openIe":"o","nickName":"B",' + MARK + "}",
        '{"x":1,"purePhoneNumber":"1","countryCode":"86",' + MARK + "}",
        PHONE.replace('r":"138', 'r":"139', 1),
        "[" * 100_000,
    ],
)
def test_what_wechat_would_not_have_written_is_refused(text: str) -> None:
    with pytest.raises(Undecipherable):
        decrypt(sealed(text), IV, KEY)


@pytest.mark.parametrize("prefix", ["", "49", "+49", "+49-", "0049"])
def test_a_number_may_have_its_country_code(prefix: str) -> None:
    text = f'{{"phoneNumber":"{prefix}151","purePhoneNumber":"151","countryCode":"49",{MARK}}}'
    assert decrypt(sealed(text), IV, KEY)["purePhoneNumber"] == "151"


def test_characters_may_be_escaped_as_the_sender_likes() -> None:
    text = '{"nickName":"\\u4e2d\\/",' + MARK + "}"
    assert decrypt(sealed(text), IV, KEY)["nickName"] == "中/"


@pytest.mark.parametrize("text", [None, PHONE], ids=["user info", "phone number"])
@given(st.data())
def test_what_was_altered_is_refused(text: str | None, data: st.DataObject) -> None:
    encrypted, iv = sealed(text) if text else decoded(ENCRYPTED), IV
    match data.draw(st.sampled_from(["truncated", "extended", "flipped", "another iv"])):
        case "truncated":
            encrypted = encrypted[: data.draw(st.integers(0, len(encrypted) - 1))]
        case "extended":
            encrypted += data.draw(st.binary(min_size=1, max_size=48))
        case "flipped":
            bit = 1 << data.draw(st.integers(0, len(encrypted) * 8 - 1))
            number = int.from_bytes(encrypted) ^ bit
            encrypted = number.to_bytes(len(encrypted))
        case _:
            mask = data.draw(st.integers(1, 2**128 - 1))
            iv = (int.from_bytes(iv) ^ mask).to_bytes(16)
    try:
        found = decrypt(encrypted, iv, KEY)
    except Undecipherable:
        return
    # The first characters of the openid can be changed; a reader compares it with the user's.
    assert text is None
    assert found.get("openId") != OPENID
