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
from wxsession.common.wording import Sentence
from wxsession.errors import WxSessionError
from wxsession.operations.database_checks import SAMPLE, DatabaseChecks
from wxsession.operations.findings import Finding, Findings
from wxsession.settings import IN_FILE, Settings, is_readable_by_everybody
from wxsession.wechat.client import WeChatClient

_APPID = re.compile(r"wx[0-9a-f]{16}")
_APP_SECRET = re.compile(r"[0-9a-f]{32}")
_WECHAT = "api.weixin.qq.com"
_EXAMPLES = frozenset({"PASSWORD", "password", "postgres", "secret"})
_CONSOLE = Sentence("copy it from the mini-program's console")
_METRICS_TIMEOUT = 5.0


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
                found = Sentence("valid; {count} apps", count=len(self._settings.apps))
                yield Finding("settings", "ok", found)
        else:
            yield Finding(
                "settings",
                "warning",
                Sentence("WXSESSION_WECHAT_URL is not WeChat's address"),
                Sentence(
                    "leave it out to ask {host}, unless it is a proxy or the simulator",
                    host=_WECHAT,
                ),
            )
        if url.scheme == "http" and not _is_on_this_machine(url.hostname or ""):
            yield Finding(
                "settings",
                "fault",
                Sentence(
                    "WXSESSION_WECHAT_URL is not https: AppSecrets cross the network in clear"
                ),
                Sentence("let it begin with https://"),
            )
        if make_url(self._settings.database_url).password in _EXAMPLES:
            yield Finding(
                "settings",
                "fault",
                Sentence("the password in WXSESSION_DATABASE_URL is an example"),
                Sentence("set one of your own: ALTER ROLE … PASSWORD"),
            )
        if self._settings.dialects == "all":
            yield Finding(
                "settings",
                "warning",
                Sentence(
                    "WXSESSION_DIALECTS=all serves dialects with credentials in URLs, and so in"
                    " logs"
                ),
                Sentence("name the dialects that your clients use"),
            )

    def _of_files(self) -> Findings:
        secret = {
            Sentence("the file of {setting}", setting=name + IN_FILE): path
            for name, path in self._settings.files.items()
        }
        url = make_url(self._settings.database_url)
        if url.get_backend_name() == "sqlite":
            for end in ("", "-wal", "-shm"):
                path = Path(f"{url.database}{end}")
                secret[Sentence("the database {path}", path=path)] = path
        exposed = [what for what, path in secret.items() if is_readable_by_everybody(path)]
        for what in exposed:
            found = Sentence("every user of this machine can read {what}", what=what)
            yield Finding("files", "fault", found, Sentence("run chmod o-r on it"))
        if secret and not exposed:
            yield Finding("files", "ok", Sentence("nothing secret can be read by everybody"))

    def _of_metrics(self) -> Finding:
        """Return whether Prometheus gets the numbers of this server, as the boards need them."""
        if self._settings.metrics is None:
            return Finding("metrics", "ok", Sentence("off: Prometheus gets nothing"))
        if find_spec("prometheus_client") is None:
            found = Sentence("prometheus-client is missing: the boards have no data")
            cure = Sentence("run pip install 'wxsession[metrics]'")
            return Finding("metrics", "warning", found, cure)
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
            found = Sentence(
                "{address} does not respond ({reason}): the boards have no data",
                address=address,
                reason=getattr(error, "reason", error),
            )
            cure = Sentence("start the service; if it runs, its log says why it has no metrics")
            return Finding("metrics", "warning", found, cure)
        if not is_ours:
            found = Sentence(
                "another program listens at {address}: the boards have no data", address=address
            )
            cure = Sentence("let WXSESSION_METRICS be another address")
            return Finding("metrics", "warning", found, cure)
        return Finding(
            "metrics", "ok", Sentence("Prometheus gets them at {address}", address=address)
        )

    def _of_app_at_wechat(self, appid: str) -> Finding:
        try:
            self._wechat.stable_token(appid)
        except WxSessionError as error:
            meaning, cure = getattr(error, "__notes__", (error.code, Sentence("see the log")))
            found = Sentence("{appid}: {meaning}", appid=appid, meaning=meaning)
            return Finding("wechat", "fault", found, cure)
        found = Sentence("{appid}: WeChat gives an access_token", appid=appid)
        return Finding("wechat", "ok", found)


def _faults_of_app(appid: str, secret: str) -> Iterator[Finding]:
    if not _APPID.fullmatch(appid):
        found = Sentence(
            "{appid} in WXSESSION_APPS is no appid: wx and 16 hexadecimal digits", appid=appid
        )
        yield Finding("settings", "fault", found, _CONSOLE)
    elif not _APP_SECRET.fullmatch(secret):
        found = Sentence("the AppSecret of {appid} is none: 32 hexadecimal digits", appid=appid)
        yield Finding("settings", "fault", found, _CONSOLE)
    elif secret.startswith("0123456789abcdef") or len(set(secret)) == 1:
        found = Sentence("the AppSecret of {appid} is an example", appid=appid)
        yield Finding("settings", "fault", found, _CONSOLE)


def _is_on_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
