"""Settings for tests, read the way a server reads its own."""

from collections.abc import Mapping

from wxsession.settings import Settings

APPID = "wx0123456789abcdef"
OTHER_APPID = "wxfedcba9876543210"
APPS = {APPID: "app-secret-one-0123456789abcdef", OTHER_APPID: "app-secret-two-0123456789abcdef"}
SECRET_KEY = "a-secret-key-that-is-made-up-for-tests"

PATIENT: Mapping[str, object] = {"database_timeout": "60s", "wechat_timeout": "20,20"}
"""As long as may be: no test fails because the machine has other things to do."""


def environment(database_url: str, /, **changes: object) -> dict[str, str]:
    """Return what the environment of a server would hold; names are given in lower case."""
    values: dict[str, object] = {
        "database_url": database_url,
        "apps": ",".join(f"{appid}:{secret}" for appid, secret in APPS.items()),
        "secret_keys": SECRET_KEY,
        **changes,
    }
    return {f"WXSESSION_{name.upper()}": str(value) for name, value in values.items()}


def settings_for(database_url: str, /, **changes: object) -> Settings:
    """Return settings, with changes to the defaults; a test may want many threads."""
    return Settings.read(environment(database_url, **{"threads": 256, **PATIENT, **changes}))
