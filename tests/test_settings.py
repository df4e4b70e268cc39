"""The configuration: every fault told at once, no value repeated, nothing started."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.settings import environment
from wxsession import Settings, SettingsError
from wxsession.settings import duration

URL = "sqlite:////tmp/wxsession.db"


def faults(**changes: object) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        Settings.read(environment(URL, **changes))
    return caught.value.faults


def test_the_defaults() -> None:
    settings = Settings.read(environment(URL))
    assert settings.wechat_url == "https://api.weixin.qq.com"
    assert settings.wechat_timeout == (3, 5)
    assert settings.threads == 32
    assert settings.wechat_concurrency is None  # half of them
    assert settings.idle_timeout == timedelta(days=7)
    assert settings.absolute_timeout == timedelta(days=30)
    assert settings.touch_interval == timedelta(hours=1)
    assert settings.refresh_grace == timedelta(seconds=30)
    assert settings.login_replay == timedelta(seconds=10)
    assert settings.max_sessions == 20
    assert settings.retention == timedelta(days=7)
    assert settings.url_prefix is None
    assert settings.trusted_proxies == 0


def test_nothing_at_all_lists_everything_that_is_needed() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read({})
    text = str(caught.value)
    for name in ("WXSESSION_DATABASE_URL", "WXSESSION_APPS", "WXSESSION_SECRET_KEYS"):
        assert f"{name}: missing" in text


def test_every_fault_is_told_at_once() -> None:
    found = faults(
        apps="wx0123456789abcdef",
        secret_keys="short",
        wechat_url="ftp://x",
        wechat_timeout="3",
        threads="0",
        wechat_concurrency="0",
        idle_timeout="soon",
        max_sessions="-1",
        url_prefix="auth",
        trusted_proxies="one",
    )
    assert len(found) == 10


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("apps", ""),
        ("apps", "wx0:"),
        ("apps", ":s"),
        ("apps", "wx0:a,wx0:b"),
        ("apps", "wx0:a,"),
        ("secret_keys", "k" * 31),
        ("secret_keys", "k" * 32 + "," + "k" * 32),
        ("secret_keys", "k" * 32 + ","),
        ("database_url", "mysql://h/d"),
        ("database_url", "postgresql+psycopg2://h/d"),
        ("database_url", "not a url"),
        ("database_url", "sqlite://"),
        ("database_url", "sqlite:///:memory:"),
        ("database_url", "sqlite:///file:x?mode=memory&uri=true"),
        ("wechat_url", "api.weixin.qq.com"),
        ("wechat_url", "https://"),
        ("wechat_timeout", "0,5"),
        ("wechat_timeout", "three,five"),
        ("retention", "soon"),
        ("wechat_timeout", "3,61"),
        ("wechat_timeout", "nan,5"),
        ("wechat_timeout", "3,inf"),
        ("idle_timeout", "0"),
        ("idle_timeout", "7 d"),
        ("idle_timeout", "4000d"),
        ("idle_timeout", "٣d"),
        ("absolute_timeout", "-1d"),
        ("retention", "1w"),
        ("max_sessions", "0"),
        ("max_sessions", "1e3"),
        ("url_prefix", "/"),
        ("url_prefix", "/a/"),
        ("url_prefix", "/a b"),
    ],
)
def test_a_bad_value_is_a_fault(name: str, value: str) -> None:
    assert [fault for fault in faults(**{name: value}) if f"WXSESSION_{name.upper()}" in fault]


def test_values_that_contradict_each_other_are_faults() -> None:
    assert faults(idle_timeout="31d") == (
        "WXSESSION_IDLE_TIMEOUT is longer than WXSESSION_ABSOLUTE_TIMEOUT",
    )
    assert faults(idle_timeout="1h") == (
        "WXSESSION_TOUCH_INTERVAL is not shorter than WXSESSION_IDLE_TIMEOUT",
    )


@given(
    st.sampled_from(["apps", "secret_keys", "database_url"]),
    st.text(alphabet="Zq7%/:,@", min_size=3),
)
def test_no_fault_repeats_a_secret(name: str, text: str) -> None:
    values = environment(URL, **{name: f"canary{text}canary"})
    told: object
    try:
        told = Settings.read(values)
    except SettingsError as error:
        told = error
    assert "canary" not in f"{told} {told!r}"


def test_the_first_app_is_the_default_and_keys_are_oldest_first() -> None:
    settings = Settings.read(
        environment(URL, apps=" wx1 : s1 , wx2:s:2 ", secret_keys=f"{'o' * 32}, {'n' * 32}")
    )
    assert list(settings.apps.items()) == [("wx1", "s1"), ("wx2", "s:2")]
    assert settings.secret_keys == ("o" * 32, "n" * 32)


@pytest.mark.parametrize(
    ("given_url", "understood"),
    [
        ("postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgres://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+psycopg://h/d?sslmode=require", "postgresql+psycopg://h/d?sslmode=require"),
        (
            "postgresql://u:p@one:5432,two:5433/d?target_session_attrs=read-write",
            "postgresql+psycopg://u:p@/d?host=one%3A5432&host=two%3A5433&target_session_attrs=read-write",
        ),
        ("postgresql://one,two/d", "postgresql+psycopg:///d?host=one&host=two"),
        ("sqlite:///rel.db", "sqlite:///rel.db"),
    ],
)
def test_a_database_url_is_understood_in_every_usual_spelling(
    given_url: str, understood: str
) -> None:
    settings = Settings.read(environment(given_url))
    assert sorted(settings.database_url.partition("?")[2].split("&")) == sorted(
        understood.partition("?")[2].split("&")
    )
    assert settings.database_url.partition("?")[0] == understood.partition("?")[0]


@given(st.integers(0, 3650), st.sampled_from("smhd"))
def test_durations(number: int, unit: str) -> None:
    names = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    assert duration(f"{number}{unit}") == timedelta(**{names[unit]: number})


def test_a_misspelt_name_is_told_and_a_later_one_is_not() -> None:
    values = environment(URL, idle_timout="1h", dialects="all")
    assert Settings.read(values).unknown == ("WXSESSION_IDLE_TIMOUT",)
