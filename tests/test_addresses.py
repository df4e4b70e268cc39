"""A client's address is one address, whatever a balancer writes after it."""

from collections.abc import Callable

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from tests.support.phone import Phone, problem
from wxsession.simulator import WeChat
from wxsession.users.client import address_of, network_of


@pytest.mark.parametrize(
    ("written", "address", "network"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:1111", "203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2::f", "2001:db8:1:2::f", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::f]", "2001:db8:1:2::f", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::f]:80", "2001:db8:1:2::f", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2:0::F", "2001:db8:1:2::f", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::1", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:80", "203.0.113.7", "203.0.113.7"),
        ("64:ff9b::203.0.113.7", "203.0.113.7", "203.0.113.7"),
        ("64:ff9b::cb00:7107", "203.0.113.7", "203.0.113.7"),
        ("64:ff9b:1::203.0.113.7", "64:ff9b:1::cb00:7107", "64:ff9b:1::/64"),
        ("unix:", "unix:", "unix:"),
        ("unknown", "unknown", "unknown"),
        ("203.0.113.7:", "203.0.113.7:", "203.0.113.7:"),
        ("203.0.113.777:80", "203.0.113.777:80", "203.0.113.777:80"),
        ("", "", ""),
    ],
)
def test_what_an_address_is_and_what_it_counts_as(written: str, address: str, network: str) -> None:
    assert (address_of(written), network_of(written)) == (address, network)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_a_port_changes_nothing(ip: object, port: int) -> None:
    plain = str(ip)
    ported = f"[{plain}]:{port}" if ":" in plain else f"{plain}:{port}"
    assert address_of(ported) == address_of(plain) == address_of(address_of(plain))
    assert network_of(ported) == network_of(plain) == network_of(address_of(plain))


@given(st.text(max_size=50))
def test_anything_may_be_written_there(text: str) -> None:
    assert address_of(address_of(text)) == address_of(text)
    assert network_of(address_of(text)) == network_of(text)


def test_a_code_is_replayed_to_its_client_from_another_port(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    phone = Phone(make_app(trusted_proxies=1), wechat, "alice")

    def log_in(code: str, forwarded: str) -> int:
        body, headers = {"code": code}, {"X-Forwarded-For": forwarded}
        return phone.send("POST", "/login", json=body, headers=headers).status_code

    for first, second in (
        ("203.0.113.7:1111", "203.0.113.7:2222"),
        ("[2001:db8::7]:80", "2001:db8::7"),
    ):
        code = phone.code()
        assert (log_in(code, first), log_in(code, second)) == (200, 200)
    assert log_in(code, "[2001:db8::8]:80") == 400
    assert len(wechat.exchanges) == 2


def test_a_guesser_is_one_client_from_every_port(
    make_app: Callable[..., Flask], wechat: WeChat
) -> None:
    phone = Phone(make_app(trusted_proxies=1), wechat, "alice")

    def guess(number: int) -> tuple[int, str, str | None]:
        body = {"username": f"name-{number}", "password": "guess guess"}
        headers = {"X-Forwarded-For": f"203.0.113.7:{1000 + number}"}
        return problem(phone.send("POST", "/login", json=body, headers=headers))

    answers = [guess(number)[1] for number in range(101)]
    assert answers == ["bad_credentials"] * 100 + ["too_many_attempts"]
