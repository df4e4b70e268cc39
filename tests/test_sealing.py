"""What is sealed opens in its own place, under a key of ours, unchanged, or not at all."""

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from tests.support.app import services_of
from tests.support.phone import Phone
from wxsession.common.crypto import Sealer, SecretKeys, Unsealable
from wxsession.simulator import WeChat
from wxsession.storage.database import new_id
from wxsession.storage.tables import session_keys
from wxsession.wechat.session_keys import SessionKeyStore

OLD, NEW = "old-" * 10, "new-" * 10
ROW = new_id()


@given(st.binary(max_size=300))
def test_a_value_comes_back_in_its_own_place(value: bytes) -> None:
    sealer = Sealer(SecretKeys([OLD]))
    sealed = sealer.seal(value, row=ROW, column="t.c")
    assert sealer.open(sealed, row=ROW, column="t.c") == value
    assert len(value) < 4 or value not in sealed


def test_a_value_that_was_moved_does_not_open() -> None:
    sealer = Sealer(SecretKeys([OLD]))
    sealed = sealer.seal(b"value", row=ROW, column="t.c")
    for row, column in ((new_id(), "t.c"), (ROW, "t.d")):
        with pytest.raises(Unsealable):
            sealer.open(sealed, row=row, column=column)


@given(st.data())
def test_a_value_that_was_changed_does_not_open(data: st.DataObject) -> None:
    sealer = Sealer(SecretKeys([OLD]))
    sealed = bytearray(sealer.seal(b"value", row=ROW, column="t.c"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    for text in (bytes(sealed), bytes(sealed[:-1]), bytes(sealed) + b"x", b""):
        with pytest.raises(Unsealable):
            sealer.open(text, row=ROW, column="t.c")


def test_a_value_that_was_cut_anywhere_does_not_open() -> None:
    sealer = Sealer(SecretKeys([OLD]))
    sealed = sealer.seal(b"value", row=ROW, column="t.c")
    for end in range(len(sealed)):
        with pytest.raises(Unsealable):
            sealer.open(sealed[:end], row=ROW, column="t.c")


def test_equal_values_do_not_look_equal() -> None:
    sealer = Sealer(SecretKeys([OLD]))
    assert len({sealer.seal(b"value", row=ROW, column="t.c") for _ in range(100)}) == 100


def test_every_key_opens_and_the_newest_seals() -> None:
    old, both = Sealer(SecretKeys([OLD])), Sealer(SecretKeys([OLD, NEW]))
    new = Sealer(SecretKeys([NEW]))
    place = {"row": ROW, "column": "t.c"}
    by_old, by_both = old.seal(b"v", **place), both.seal(b"v", **place)  # type: ignore[arg-type]
    assert both.open(by_old, **place) == new.open(by_both, **place) == b"v"  # type: ignore[arg-type]
    with pytest.raises(Unsealable):
        new.open(by_old, **place)  # type: ignore[arg-type]


def test_a_key_in_another_identitys_row_does_not_open(
    app: Flask, wechat: WeChat, phone: Phone
) -> None:
    phone.log_in()
    Phone(app, wechat, "mallory").log_in()
    services = services_of(app)
    with services.database.transaction() as connection:
        one, other = connection.execute(select(session_keys)).all()
        connection.execute(
            update(session_keys)
            .where(session_keys.c.identity_id == other.identity_id)
            .values(sealed=one.sealed)
        )
        assert services.session_keys.keys(connection, other.identity_id) == []


def test_a_login_after_the_old_key_is_gone_starts_the_ring_anew(phone: Phone, app: Flask) -> None:
    phone.log_in()
    new = SessionKeyStore(Sealer(SecretKeys([NEW])))
    services = services_of(app)
    with services.database.transaction() as connection:
        identity = connection.execute(select(session_keys.c.identity_id)).scalar_one()
        new.remember(connection, identity, "a-new-session-key", phone.wechat.clock())
        assert [key.session_key for key in new.keys(connection, identity)] == ["a-new-session-key"]
