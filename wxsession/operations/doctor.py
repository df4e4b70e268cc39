"""The doctor: looks for what keeps a server from working well, and knows the cures.

What is wrong in the settings by themselves is told when they are read. This looks at what they lead
to: files, the database and what lies in it, and WeChat.
"""

import ipaddress
import re
from collections.abc import Iterator
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from sqlalchemy.engine import make_url

from wxsession.common.metrics import BUILD_INFO
from wxsession.errors import WxSessionError
from wxsession.operations.database_checks import SAMPLE, DatabaseChecks
from wxsession.operations.findings import Finding, Findings
from wxsession.settings import IN_FILE, Settings, is_readable_by_everybody
from wxsession.wechat.client import WeChatClient

_APPID = re.compile(r"wx[0-9a-f]{16}")
_APP_SECRET = re.compile(r"[0-9a-f]{32}")
_WECHAT = "api.weixin.qq.com"
_EXAMPLES = frozenset({"PASSWORD", "password", "postgres", "secret"})
_CONSOLE = "copy it from the mini-program's console"
_METRICS_TIMEOUT = 5.0
_NO_DATA = ": the boards have no data"


class Doctor:
    """Examines one server, and changes nothing."""

    def __init__(
        self, settings: Settings, *, database: DatabaseChecks, wechat: WeChatClient
    ) -> None:
        self._settings = settings
        self._database = database
        self._wechat = wechat

    def examine(
        self, *, workers: int, sample: int | None = SAMPLE, wechat: bool = False
    ) -> Findings:
        """Yield what was found, one subject after the other.

        `workers` is how many processes serve with these settings. `sample` is how many sealed
        values of a table are opened, None: all. With `wechat`, an access_token of each app is
        asked for.
        """
        yield from self._of_settings()
        yield from self._of_files()
        yield self._of_metrics()
        yield from self._database.examine(workers=workers, sample=sample)
        if wechat:
            for appid in self._settings.apps:
                yield self._of_app_at_wechat(appid)

    def _of_settings(self) -> Findings:
        url = urlsplit(self._settings.wechat_url)
        if url.hostname == _WECHAT:
            faults = [
                fault for app in self._settings.apps.items() for fault in _faults_of_app(*app)
            ]
            yield from faults
            if not faults and url.scheme == "https":
                yield Finding("settings", "ok", f"valid; {len(self._settings.apps)} apps")
        else:
            yield Finding(
                "settings",
                "warning",
                "WXSESSION_WECHAT_URL is not WeChat's address",
                f"leave it out to ask {_WECHAT}, unless it is a proxy or the simulator",
            )
        if url.scheme == "http" and not _is_on_this_machine(url.hostname or ""):
            yield Finding(
                "settings",
                "fault",
                "WXSESSION_WECHAT_URL is not https: AppSecrets cross the network in clear",
                "let it begin with https://",
            )
        if make_url(self._settings.database_url).password in _EXAMPLES:
            yield Finding(
                "settings",
                "fault",
                "the password in WXSESSION_DATABASE_URL is an example",
                "set one of your own: ALTER ROLE … PASSWORD",
            )
        if self._settings.dialects == "all":
            yield Finding(
                "settings",
                "warning",
                "WXSESSION_DIALECTS=all serves dialects with credentials in URLs, and so in logs",
                "name the dialects that your clients use",
            )

    def _of_files(self) -> Findings:
        secret = {f"the file of {name}{IN_FILE}": at for name, at in self._settings.files.items()}
        url = make_url(self._settings.database_url)
        if url.get_backend_name() == "sqlite":
            for end in ("", "-wal", "-shm"):
                path = Path(f"{url.database}{end}")
                secret[f"the database {path}"] = path
        exposed = [what for what, path in secret.items() if is_readable_by_everybody(path)]
        for what in exposed:
            found = f"every user of this machine can read {what}"
            yield Finding("files", "fault", found, "run chmod o-r on it")
        if secret and not exposed:
            yield Finding("files", "ok", "nothing secret can be read by everybody")

    def _of_metrics(self) -> Finding:
        """Return whether Prometheus gets the numbers of this server, as the boards need them."""
        if self._settings.metrics is None:
            return Finding("metrics", "ok", "off: Prometheus gets nothing")
        if find_spec("prometheus_client") is None:
            found = f"prometheus-client is missing{_NO_DATA}"
            return Finding("metrics", "warning", found, "run pip install 'wxsession[metrics]'")
        host, port = self._settings.metrics
        address = f"{f'[{host}]' if ':' in host else host}:{port}"
        try:
            # Not through a proxy: it is this machine.
            opener = build_opener(ProxyHandler({}))
            with opener.open(f"http://{address}/metrics", timeout=_METRICS_TIMEOUT) as answer:
                is_ours = BUILD_INFO.encode() in answer.read()
        except HTTPError:
            is_ours = False
        except (OSError, HTTPException) as error:
            found = f"{address} does not respond ({getattr(error, 'reason', error)}){_NO_DATA}"
            cure = "start the service; if it runs, its log says why it has no metrics"
            return Finding("metrics", "warning", found, cure)
        if not is_ours:
            found = f"another program listens at {address}{_NO_DATA}"
            return Finding("metrics", "warning", found, "let WXSESSION_METRICS be another address")
        return Finding("metrics", "ok", f"Prometheus gets them at {address}")

    def _of_app_at_wechat(self, appid: str) -> Finding:
        try:
            self._wechat.stable_token(appid)
        except WxSessionError as error:
            told = "; ".join(getattr(error, "__notes__", [error.code]))
            found, _, cure = told.rpartition("; ")
            return Finding("wechat", "fault", f"{appid}: {found or told}", cure)
        return Finding("wechat", "ok", f"{appid}: WeChat gives an access_token")


def _faults_of_app(appid: str, secret: str) -> Iterator[Finding]:
    if not _APPID.fullmatch(appid):
        found = f"{appid} in WXSESSION_APPS is no appid: wx and 16 hexadecimal digits"
        yield Finding("settings", "fault", found, _CONSOLE)
    elif not _APP_SECRET.fullmatch(secret):
        found = f"the AppSecret of {appid} is none: 32 hexadecimal digits"
        yield Finding("settings", "fault", found, _CONSOLE)
    elif secret.startswith("0123456789abcdef") or len(set(secret)) == 1:
        found = f"the AppSecret of {appid} is an example"
        yield Finding("settings", "fault", found, _CONSOLE)


def _is_on_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
