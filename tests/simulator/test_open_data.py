"""Signature and encryption, against the official vectors."""

import json
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxsession.simulator import open_data

RAW_DATA = (
    '{"nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou","province":"Guangdong",'
    '"country":"CN","avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/1vZvI39NWFQ9XM4LtQpFrQJ1xlgZxx3w7'
    'bQxKARol6503Iuswjjn6nIGBiaycAjAtpujxyzYsrztuuICqIM5ibXQ/0"}'
)

KEY = "tiihtNczf5v6AKRyjwEUhQ=="
IV = "r7BXXKkLb8qrSNn05n0qiA=="
PLAINTEXT = (
    '{"openId":"oGZUI0egBJY1zhBYw2KhdUfwVJJE","nickName":"Band","gender":1,"language":"zh_CN",'
    '"city":"Guangzhou","province":"Guangdong","country":"CN","avatarUrl":"http://wx.qlogo.cn/mmopen'
    "/vi_32/aSKcBBPpibyKNicHNTMM0qJVh8Kjgiak2AHWr8MHM4WgMEm7GFhsf8OYrySdbvAMvTsw3mo8ibKicsnfN5pRjl1"
    'p8HQ/0","unionId":"ocMvos6NjeKLIBqg5Mr9QjxrP1FA","watermark":{"timestamp":1477314187,'
    '"appid":"wx4f4bc4dec97d474b"}}'
)
ENCRYPTED = (
    "CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS9uT5geRa0W4oTOb1WT7fJlAC+oNPdb"
    "B+3hVbJSRgv+4lGOETKUQz6OYStslQ142dNCuabNPGBzlooOmB231qMM85d2/fV6ChevvXvQP8Hkue1poOFtnEtpyxVLW1"
    "zAo6/1Xx1COxFvrc2d7UL/lmHInNlxuacJXwu0fjpXfz/YqYzBIBzD6WUfTIF9GRHpOn/Hz7saL8xz+W//FRAUid1OksQa"
    "Qx4CMs8LOddcQhULW4ucetDf96JcR3g0gfRK4PC7E/r7Z6xNrXd2UIeorGj5Ef7b1pJAYB6Y5anaHqZ9J6nKEBvB4DnNLI"
    "VWSgARns/8wR2SiRS7MNACwTyrGvt9ts8p12PKFdlqYTopNHR1Vf7XjfhQlVsAJdNiKdYmYVoKlaRv85IfVunYzO0IKXsy"
    "l7JCUjCpoG20f0a04COwfneQAGGwd5oa+T8yO5hzuyDb/XcxxmK01EpqOyuxINew=="
)


def test_the_signature_is_that_of_the_official_vector() -> None:
    signature = open_data.sign(RAW_DATA, "HyVFkGl5F5OQWJZZaNzBBg==")
    assert signature == "75e81ceda165f4ffa64f4068af58c64b8f54b88c"


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        ("", "46e043c5525c2d817c44be603d30837a808a1d930d038f6fdc3e62a201fed128"),
        ('{"foo":"bar"}', "654571f79995b2ce1e149e53c0a33dc39c0a74090db514261454e8dbe432aa0b"),
    ],
)
def test_a_servers_signature_is_that_of_the_official_vector(body: str, signature: str) -> None:
    assert open_data.hmac_signature("o0q0otL8aEzpcZL/FT9WsQ==", body) == signature


def test_the_official_vector_decrypts() -> None:
    assert open_data.decrypt(ENCRYPTED, KEY, IV) == PLAINTEXT


def test_the_official_vector_encrypts_to_the_same_letters() -> None:
    assert open_data.encrypt(PLAINTEXT, KEY, IV) == ENCRYPTED


def test_json_is_written_as_in_the_official_vectors() -> None:
    assert open_data.compact(json.loads(RAW_DATA)) == RAW_DATA
    assert open_data.compact(json.loads(PLAINTEXT)) == PLAINTEXT


@given(st.text())
def test_whatever_is_encrypted_decrypts_and_fills_whole_blocks(text: str) -> None:
    encrypted = open_data.encrypt(text, KEY, IV)
    assert len(b64decode(encrypted)) == len(text.encode()) // 16 * 16 + 16
    assert open_data.decrypt(encrypted, KEY, IV) == text


def test_another_key_does_not_decrypt() -> None:
    with pytest.raises(ValueError, match=r"."):
        open_data.decrypt(ENCRYPTED, IV, KEY)
