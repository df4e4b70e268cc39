"""The configuration: every fault told at once, no value repeated, nothing started."""

import re
import subprocess
import sys
from base64 import b64decode
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from tests.support.service import ROOT, plain_environment
from tests.support.settings import APPID, OTHER_APPID, environment
from wxsession import Settings, SettingsError
from wxsession.settings import FROM_FILES, duration

URL = "sqlite:////tmp/wxsession.db"
WEBHOOK_SECRET = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_KEY, NEW_KEY = "an-old-key-that-is-made-up-for-tests", "a-new-key-that-is-made-up-for-tests"


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
    assert settings.code_limit == (30, timedelta(minutes=10))
    assert settings.registration_limit == (10, timedelta(hours=1))


def test_secrets_of_messages_are_read_with_and_without_a_key() -> None:
    key = "0123456789abcdefghijklmnopqrstuvwxyzABCDEF+"
    push = f"{APPID}:token:{key}, {OTHER_APPID} : Token2"
    forward = f"https://shop.example:8443/wechat/:whsec_{WEBHOOK_SECRET}"
    settings = Settings.read(environment(URL, push=push, push_forward=forward))
    assert settings.push[APPID] == ("token", b64decode(key + "="))
    assert settings.push[OTHER_APPID] == ("Token2", None)
    assert settings.push_forward
    assert settings.push_forward[1:] == (
        "https://shop.example:8443/wechat/",
        b64decode(WEBHOOK_SECRET),
    )
    assert key not in repr(settings)
    assert WEBHOOK_SECRET not in repr(settings)


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
        ("access_token_lifetime", "2h"),
        ("issuer", "login.example.com"),
        ("issuer", "https://login.example.com/?a=b"),
        ("issuer", "https://login.example.com/#a"),
        ("ticket_audiences", "shop.example.com"),
        ("ticket_audiences", "https://shop.example.com/cart"),
        ("ticket_audiences", "https://shop.example.com:443"),
        ("ticket_audiences", "http://shop.example.com"),
        ("ticket_audiences", "https://a.example,https://A.example"),
        ("ticket_audiences", "https://user@shop.example.com"),
        ("apps", ""),
        ("apps", "wx0:"),
        ("apps", ":s"),
        ("apps", "wx0:a,wx0:b"),
        ("apps", "wx0:a,"),
        ("secret_keys", "k" * 31),
        ("secret_keys", OLD_KEY + "," + OLD_KEY),
        ("secret_keys", OLD_KEY + ","),
        ("secret_keys", "k" * 64),
        ("secret_keys", OLD_KEY + "," + "\u94a5" * 32),
        ("secret_keys", "a-key-that-is-made-up-for-this-test"),
        ("api_keys", "shop:" + "k" * 16),
        ("api_keys", "shop:an-api-key-for-the-demo"),
        ("api_keys", "shop:an-api-key-that-is-made-up"),
        ("push", APPID),
        ("push", f"{APPID}:ab"),
        ("push", f"{APPID}:a_token"),
        ("push", f"{APPID}:token:{'k' * 42}"),
        ("push", f"{APPID}:token:{'-' * 43}"),
        ("push", f"{APPID}:token:{'k' * 43}:more"),
        ("push", f":token:{'k' * 43}"),
        ("push", f"{APPID}:token,{APPID}:token"),
        ("push", "wx0000000000000000:token"),
        ("push_forward", "https://shop.example/wechat"),
        ("push_forward", "https://shop.example:8443/wechat"),
        ("push_forward", f"ftp://shop.example:{WEBHOOK_SECRET}"),
        ("push_forward", f"https://shop.example:{WEBHOOK_SECRET[:28]}"),
        ("push_forward", f"https://shop.example:{WEBHOOK_SECRET}"),  # and no app has messages
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
        ("url_prefix", "//"),
        ("url_prefix", "/a/"),
        ("url_prefix", "/a b"),
        ("code_limit", "30"),
        ("code_limit", "0/10m"),
        ("code_limit", "30/0"),
        ("code_limit", "30/10"),
        ("code_limit", "/10m"),
        ("code_limit", "-1/10m"),
        ("registration_limit", "ten/1h"),
        ("registration_limit", "10/1h/2"),
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


def test_a_cookie_needs_an_origin_that_no_request_can_choose() -> None:
    shop, login = "https://shop.example.com", "https://login.example.com"
    cure = (
        "WXSESSION_COOKIE needs this server's address in WXSESSION_ISSUER, and the origin"
        " of that in WXSESSION_TICKET_AUDIENCES"
    )
    # Without an issuer the origin would be that of the Host header, so any audience's.
    assert faults(cookie="on", ticket_audiences=f"{login},{shop}") == (cure,)
    assert faults(cookie="on", ticket_audiences=shop, issuer=login) == (cure,)
    assert faults(cookie="on", issuer=login) == (cure,)
    accepted = environment(
        URL,
        cookie="on",
        ticket_audiences=f"{login},{shop}",
        issuer="https://Login.example.com/auth",
    )
    assert Settings.read(accepted).origin == login


def test_a_contradiction_is_told_together_with_a_bad_and_a_missing_value() -> None:
    found = faults(idle_timeout="31d", threads="0", apps="")
    assert [fault.partition(":")[0] for fault in found] == [
        "WXSESSION_APPS",
        "WXSESSION_THREADS",
        "WXSESSION_IDLE_TIMEOUT is longer than WXSESSION_ABSOLUTE_TIMEOUT",
    ]


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
        environment(URL, apps=" wx1 : s1 , wx2:s:2 ", secret_keys=f"{OLD_KEY}, {NEW_KEY}")
    )
    assert list(settings.apps.items()) == [("wx1", "s1"), ("wx2", "s:2")]
    assert settings.secret_keys == (OLD_KEY, NEW_KEY)


@pytest.mark.parametrize("name", ["secret_keys", "api_keys"])
@pytest.mark.parametrize("key", ["k" * 64, "an-api-key-for-the-demo", "short"])
def test_a_weak_key_is_told_with_its_cure(name: str, key: str) -> None:
    (fault,) = faults(**{name: f"shop:{key}" if name == "api_keys" else key})
    assert fault.startswith(f"WXSESSION_{name.upper()}: ")
    assert fault.endswith("openssl rand -hex 32")
    assert key not in fault


def test_no_key_of_the_documents_is_taken() -> None:
    """Whoever copies an example as it stands is told so."""
    shown = re.compile(
        r"Api-Key:? \"?([\w-]+)|_SECRET_KEYS['\"]?[=:] ?['\"]([\w,-]+)|-u \"?\w+:([\w-]+)"
    )
    found = set()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("miniprogram/**/*.md")):
        for match in shown.finditer(path.read_text(encoding="utf-8")):
            found.add(next(filter(None, match.groups())))
    assert {"YOUR-API-KEY", "OLD,NEW"} <= found
    for key in found:
        assert faults(secret_keys=key)
        assert faults(api_keys=f"shop:{key}")


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


@pytest.mark.parametrize(
    ("name", "native", "text"),
    [
        ("apps", {"wx1": "s1", "wx2": "s:2"}, "wx1:s1,wx2:s:2"),
        ("secret_keys", [OLD_KEY, NEW_KEY], f"{OLD_KEY},{NEW_KEY}"),
        ("secret_keys", (NEW_KEY,), NEW_KEY),
        ("api_keys", {"shop": "a-key-of-the-shop"}, "shop:a-key-of-the-shop"),
        ("wechat_timeout", (3, 5), "3,5"),
        ("max_sessions", 3, "3"),
        ("trusted_proxies", 0, "0"),
        ("idle_timeout", timedelta(days=3), "3d"),
        ("refresh_grace", timedelta(0), "0"),
        ("link_by_unionid", False, "off"),
        ("link_by_unionid", True, "on"),
        ("code_limit", (5, timedelta(minutes=1)), "5/1m"),
        ("registration_limit", 0, "0"),
        ("dialects", ["wafer", "book"], "wafer,book"),
        ("dialects", [], "none"),
        ("push", {APPID: "token:" + "k" * 43}, f"{APPID}:token:{'k' * 43}"),
        ("api_keys", {}, ""),
        ("retention", None, ""),
    ],
)
def test_a_native_value_means_what_its_text_means(name: str, native: object, text: str) -> None:
    setting = f"WXSESSION_{name.upper()}"
    assert Settings.read(environment(URL) | {setting: native}) == Settings.read(
        environment(URL) | {setting: text}
    )


@pytest.mark.parametrize(
    ("name", "native", "said"),
    [
        ("apps", {"wx1", "canary"}, "a value of the type set is not accepted; give a str, int,"),
        ("apps", {"wx1": b"canary"}, "has an entry of the type bytes"),
        ("apps", {"wx1": {"secret": "canary"}}, "has an entry of the type dict"),
        ("apps", {"wx1:canary": "s1"}, "an entry must not contain : or ,"),
        ("apps", {"wx1": "s1,wx2:canary"}, "an entry must not contain ,"),
        ("secret_keys", {OLD_KEY: "canary"}, "a value of the type dict is not accepted"),
        ("secret_keys", [OLD_KEY, None], "has an entry of the type NoneType"),
        ("secret_keys", [f"{OLD_KEY},{NEW_KEY}"], "an entry must not contain ,"),
        ("secret_keys", [OLD_KEY, True], "has an entry of the type bool"),
        ("idle_timeout", 3.5, "a value of the type float is not accepted"),
        ("idle_timeout", timedelta(milliseconds=1500), "not a duration of whole seconds"),
        ("idle_timeout", timedelta(days=-1), "not a duration of whole seconds"),
        ("idle_timeout", 3600, "not a duration like 30s"),
        ("max_sessions", True, "not a whole number"),
        ("link_by_unionid", 1, "must be on or off"),
        ("code_limit", (5, "1/m"), "an entry must not contain /"),
        ("database_url", make_url(URL), "a value of the type URL is not accepted"),
        ("database_url", ROOT, "a value of the type PosixPath is not accepted"),
    ],
)
def test_a_native_value_of_a_wrong_type_is_a_fault(name: str, native: object, said: str) -> None:
    setting = f"WXSESSION_{name.upper()}"
    with pytest.raises(SettingsError) as caught:
        Settings.read(environment(URL) | {setting: native})
    (fault,) = caught.value.faults
    assert fault.startswith(f"{setting}: {said}")
    assert "canary" not in fault


def test_a_slash_mounts_the_endpoints_at_the_root() -> None:
    assert Settings.read(environment(URL, url_prefix="/")).url_prefix is None


@given(st.integers(0, 3650), st.sampled_from("smhd"))
def test_durations(number: int, unit: str) -> None:
    names = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    assert duration(f"{number}{unit}") == timedelta(**{names[unit]: number})


def test_a_misspelt_name_is_told_and_a_later_one_is_not(caplog: pytest.LogCaptureFixture) -> None:
    Settings.read(environment(URL, idle_timout="1h", dialects="all"))
    assert caplog.messages == ["unknown setting WXSESSION_IDLE_TIMOUT"]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("apps", "wx1:s1\nwx2:s:2\n", "wx1:s1,wx2:s:2"),
        ("apps", "wx1:s1,wx2:s:2", "wx1:s1,wx2:s:2"),
        ("secret_keys", f"{OLD_KEY}\r\n{NEW_KEY}\r\n", f"{OLD_KEY},{NEW_KEY}"),
        ("api_keys", "\ufeffshop:a-key-of-the-shop\n\n", "shop:a-key-of-the-shop"),
        ("database_url", f"{URL}\n", URL),
    ],
)
def test_a_secret_in_a_file_means_what_its_text_means(
    name: str, content: str, text: str, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    values = environment(URL, **{name: "", f"{name}_file": path})
    assert Settings.read(values) == Settings.read(environment(URL, **{name: text}))


def test_a_file_that_everybody_may_read_is_told_and_its_value_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "apps"
    path.write_text("wx1:s1")
    path.chmod(0o644)
    settings = Settings.read(environment(URL, apps="", apps_file=path))
    assert settings.apps == {"wx1": "s1"}
    assert settings.files == {"WXSESSION_APPS": path}
    assert caplog.messages == [
        "every user of this machine can read the file of WXSESSION_APPS_FILE; run chmod o-r on it"
    ]
    caplog.clear()
    path.chmod(0o640)
    Settings.read(environment(URL, apps="", apps_file=path))
    assert not caplog.messages


@pytest.mark.parametrize("name", FROM_FILES)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory; give the path of a file that the user of this process"),
        ("", "the file is empty; write the value into it"),
        (" \n\n", "the file is empty; write the value into it"),
        (b"\xffcanary", "the file is not text in UTF-8"),
        ("canary" * 200_000, "the file is larger than 1 MiB"),
        ("folder", "this is not a file"),
    ],
)
def test_a_file_without_a_value_is_a_fault_in_words(
    name: str, content: str | bytes | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "canary"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (fault,) = faults(**{name.lower(): "", f"{name.lower()}_file": path})
    assert fault.startswith(f"WXSESSION_{name}_FILE: {said}")
    assert "canary" not in fault


def test_a_value_that_is_wrong_in_a_file_is_told_under_the_name_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("canary")
    (fault,) = faults(secret_keys="", secret_keys_file=path)
    assert fault.startswith("WXSESSION_SECRET_KEYS_FILE: every key needs at least 32 characters")


def test_a_value_and_a_file_for_one_setting_contradict_each_other(tmp_path: Path) -> None:
    path = tmp_path / "apps"
    path.write_text("wx1:canary")
    assert faults(apps_file=path) == (
        "WXSESSION_APPS_FILE: given twice, here and without _FILE; remove one of them",
    )


def test_a_file_for_what_is_no_secret_is_told_as_misspelt(caplog: pytest.LogCaptureFixture) -> None:
    Settings.read(environment(URL, max_sessions_file="/nowhere"))
    assert caplog.messages == ["unknown setting WXSESSION_MAX_SESSIONS_FILE"]


def test_the_default_of_the_service_does_not_contradict_a_file(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text(f"{URL}\n")
    wanted = environment("", database_url_file=path)
    printed = subprocess.run(
        [sys.executable, "-c", "import config; print(config.settings().database_url)"],
        cwd=ROOT,
        env=plain_environment() | wanted,
        check=True,
        capture_output=True,
        text=True,
    )
    assert printed.stdout == f"{URL}\n"
