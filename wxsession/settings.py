"""The settings: read from any mapping, of strings or of native values, validated once, frozen.

What is secret may stand in files, as systemd, Docker and Kubernetes hand secrets over. One message
lists everything that is wrong, and repeats no value: a value may be a secret. The names and
defaults stand in the documents as well; a test compares the two.
"""

import logging
import os
import re
import stat
from base64 import b64decode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from wxsession.errors import SettingsError

T = TypeVar("T")

PREFIX = "WXSESSION_"
IN_FILE = "_FILE"
ALL: Final = "all"
NONE = "none"
DEFAULT_THREADS = 32

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_SHORTEST_SECRET_KEY = 32
_SHORTEST_API_KEY = 16
_LONGEST_API_KEY_NAME = 64  # the actor of an audit event
_SHORTEST_DATABASE_TIMEOUT = timedelta(seconds=3)  # a connection alone may take two
_LONGEST_DATABASE_TIMEOUT = timedelta(seconds=60)
_LONGEST_ACCESS_TOKEN = timedelta(hours=1)
_THIS_MACHINE = {"localhost", "127.0.0.1", "[::1]"}
_LARGEST_FILE = 1 << 20
_CURE = "make one with openssl rand -hex 32"
# Keys that once stood in our documents and examples.
_PUBLISHED = frozenset(
    {
        "an-api-key-for-the-demo",
        "an-api-key-that-is-made-up",
        "a-key-that-is-made-up-for-this-test",
    }
)

_log = logging.getLogger(__name__)


class Limit(NamedTuple):
    """At most `most` events in each `window`."""

    most: int
    window: timedelta


SCOPES = ("introspect", "users", "phone", "manage", "events")
"""What an API key may be good for; the first is what it is good for unless it says otherwise."""


class ApiKey(NamedTuple):
    """The key of a back end, and what it is good for."""

    key: str
    scopes: frozenset[str]

    def __repr__(self) -> str:
        """Return the scopes, and not the key."""
        return f"ApiKey({'+'.join(sorted(self.scopes))})"


class PushSecrets(NamedTuple):
    """By what one app's messages from WeChat are recognized, and with what they are encrypted."""

    token: str
    aes_key: bytes | None
    """32 bytes; None: they are not encrypted."""


class Webhook(NamedTuple):
    """Somebody who is told of events; the secret is shared with the receiver."""

    name: str
    url: str
    secret: bytes

    def __repr__(self) -> str:
        """Return the name alone: the URL may hold a secret as well."""
        return f"Webhook({self.name})"


DEFAULT_CODE_LIMIT = Limit(30, timedelta(minutes=10))
DEFAULT_REGISTRATION_LIMIT = Limit(10, timedelta(hours=1))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The configuration of one server; `Settings.read` makes it from the ``WXSESSION_…`` names."""

    database_url: str = field(repr=False)
    apps: Mapping[str, str] = field(repr=False)
    """Secrets by appid; the first app is the default one."""
    secret_keys: tuple[str, ...] = field(repr=False)
    """Oldest first."""
    wechat_url: str = "https://api.weixin.qq.com"
    wechat_timeout: tuple[float, float] = (3.0, 5.0)
    """In seconds: to connect, and to read."""
    threads: int = DEFAULT_THREADS
    """How many requests one process serves at once; only a part of them may wait."""
    wechat_concurrency: int | None = None
    """How many calls to WeChat one process makes at once; None: half of the threads."""
    idle_timeout: timedelta = timedelta(days=7)
    absolute_timeout: timedelta = timedelta(days=30)
    touch_interval: timedelta = timedelta(hours=1)
    refresh_grace: timedelta = timedelta(seconds=30)
    login_replay: timedelta = timedelta(seconds=10)
    max_sessions: int = 20
    retention: timedelta = timedelta(days=7)
    audit_retention: timedelta = timedelta(days=190)
    api_keys: Mapping[str, ApiKey] = field(default_factory=dict, repr=False)
    """Keys by the names of the back ends that use them."""
    push: Mapping[str, PushSecrets] = field(default_factory=dict, repr=False)
    """By appid: how WeChat's messages to that app are verified and opened."""
    push_forward: Webhook | None = field(default=None, repr=False)
    """Who is handed WeChat's messages that are not for this server."""
    webhooks: Mapping[str, Webhook] = field(default_factory=dict, repr=False)
    """Who is told of events, by name."""
    webhooks_to_private: bool = False
    """Whether a webhook may be plain http, or in a private network."""
    access_token_lifetime: timedelta = timedelta(minutes=5)
    """How long a signed access token is valid; 0: none are issued."""
    issuer: str | None = None
    """Who issues them: the address of this server; None: the one that a request was sent to."""
    ticket_audiences: tuple[str, ...] = ()
    """The origins to which a mini-program may take its session, in lower case."""
    api_page: bool = False
    """Whether the API page is served at ``/docs``."""
    cookie: bool = False
    """Whether a web-view on our own origin may have its session in a cookie."""
    device_login: bool = False
    """Whether a phone may log another device in."""
    link_by_unionid: bool = True
    """Whether WeChat users of several apps with one unionid are one user."""
    code_limit: Limit | None = DEFAULT_CODE_LIMIT
    """How many codes from one address WeChat may refuse."""
    registration_limit: Limit | None = DEFAULT_REGISTRATION_LIMIT
    """How many users may register from one address."""
    check_session_keys: bool = False
    """Whether to ask WeChat about a session_key that does not fit open data."""
    dialects: Literal["safe", "all"] | tuple[str, ...] = "safe"
    """The dialects to serve besides our own: by name, all, or all that are safe in any log."""
    code_header: str = "mycode"
    token_header: str = "token"  # noqa: S105 - the name of a header
    """The headers in which the dialect ``code-header`` looks for the code and for the token."""
    url_prefix: str | None = None
    trusted_proxies: int = 0
    pool_size: int = 16
    """How many database connections one process opens at most."""
    database_timeout: timedelta = timedelta(seconds=5)
    """How long a request waits for the database at most."""
    prepared_statements: bool = True
    """Whether the server prepares statements; behind some poolers it cannot."""
    access_log: bool = False
    """Whether the service logs a line for each request."""
    console_url: str = "http://127.0.0.1:8002"
    """Where a browser finds the console: the links of its admins begin with it."""
    metrics: tuple[str, int] | None = None
    """The address at which Prometheus may ask."""
    files: Mapping[str, Path] = field(default_factory=dict, compare=False)
    """Where values came from files: the files, by the whole names of their settings."""

    @classmethod
    def read(
        cls, values: Mapping[str, object], *, dialects: Collection[str] | None = None
    ) -> "Settings":
        """Return the settings that `values` holds under their ``WXSESSION_…`` names.

        A value is a string as in the environment, or a native one: dict, list, tuple, timedelta,
        bool or int. None counts as not given. Of `FROM_FILES`, a name with ``_FILE`` at its end may
        have the path of a file with the value instead. `dialects` are the names that a dialect may
        have, if the caller knows them. A name that begins like a setting but is unknown is logged:
        most likely it is misspelt.

        Raises:
            SettingsError: with everything that is wrong.
        """
        given = {
            name.removeprefix(PREFIX): value
            for name, value in values.items()
            if name.startswith(PREFIX) and value is not None
        }
        faults = []
        read: dict[str, Any] = {"database_url": "", "apps": {}, "secret_keys": ()}
        files = _named_files(given)
        for name, parse in _PARSERS.items():
            try:
                value = given.get(name, "")
                if name in files:
                    value = _value_in_file(files[name], beside=value)
                if text := _as_text(value, parse):
                    read[name.lower()] = parse(text)
                elif name in _REQUIRED:
                    faults.append(f"{PREFIX}{name}: missing; {_REQUIRED[name]}")
            except ValueError as fault:
                faults.append(f"{PREFIX}{name}{IN_FILE if name in files else ''}: {fault}")
        # The default stands in for a value that is wrong, so that the rest is checked as well.
        settings = cls(**read, files={f"{PREFIX}{name}": path for name, path in files.items()})
        faults += settings._contradictions()
        if dialects is not None and isinstance(settings.dialects, tuple):
            faults += unknown_dialects(settings.dialects, dialects)
        if faults:
            raise SettingsError(faults) from None
        settings._warn_of(given)
        return settings

    @property
    def origin(self) -> str:
        """The origin of the issuer, as a browser writes it; no origin at all without an issuer.

        Never that of a request: its Host is whatever the client says, and a ticket for another
        audience would open a session here.
        """
        parts = urlsplit(self.issuer or "")
        return f"{parts.scheme}://{parts.netloc}".lower()

    def shown(self) -> "list[ShownSetting]":
        """Return every setting as an operator may see it, without any secret."""
        defaults = {field.name: field.default for field in fields(self)}
        shown = []
        for name in _PARSERS:
            value = getattr(self, name.lower())
            text = _WITHOUT_SECRETS.get(name, _plain)(value) if value is not None else ""
            is_default = value in (defaults[name.lower()], {})
            shown.append(ShownSetting(PREFIX + name, text, is_default))
        return shown

    def _warn_of(self, given: Collection[str]) -> None:
        """Log which secrets everybody can read, and which of the names are unknown."""
        for name, path in self.files.items():
            if is_readable_by_everybody(path):
                _log.warning(
                    "every user of this machine can read the file of %s; run chmod o-r on it",
                    name + IN_FILE,
                )
        for name in given:
            if name not in _PARSERS and name.removesuffix(IN_FILE) not in FROM_FILES:
                _log.warning("unknown setting %s%s", PREFIX, name)

    def _contradictions(self) -> list[str]:
        """Return the values that are right by themselves, and wrong together."""
        faults = []
        if self.idle_timeout > self.absolute_timeout:
            faults.append("WXSESSION_IDLE_TIMEOUT is longer than WXSESSION_ABSOLUTE_TIMEOUT")
        if not self.webhooks_to_private:
            faults += [
                f"WXSESSION_WEBHOOKS: {one.name} is not https; in a network of your own, set"
                " WXSESSION_WEBHOOKS_TO_PRIVATE=on"
                for one in self.webhooks.values()
                if not one.url.startswith("https:")
            ]
        if self.touch_interval >= self.idle_timeout:
            faults.append("WXSESSION_TOUCH_INTERVAL is not shorter than WXSESSION_IDLE_TIMEOUT")
        if self.cookie and self.origin not in self.ticket_audiences:
            faults.append(
                "WXSESSION_COOKIE needs this server's address in WXSESSION_ISSUER, and the origin"
                " of that in WXSESSION_TICKET_AUDIENCES"
            )
        if self.apps and not self.push.keys() <= self.apps.keys():
            faults.append("WXSESSION_PUSH has an appid that is not in WXSESSION_APPS")
        if self.push_forward is not None and not self.push:
            faults.append("WXSESSION_PUSH_FORWARD forwards nothing without WXSESSION_PUSH")
        return faults


class ShownSetting(NamedTuple):
    """A setting as an operator may see it."""

    name: str
    value: str
    is_default: bool


def _without_password(url: str) -> str:
    parsed = make_url(url)
    return f"{parsed.drivername}: {parsed.host or ''}/{parsed.database or ''}"


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return str(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())


_WITHOUT_SECRETS: Mapping[str, Callable[[Any], str]] = {
    "DATABASE_URL": _without_password,
    "APPS": ", ".join,
    "SECRET_KEYS": lambda keys: f"{len(keys)} ×",
    "WECHAT_URL": _without_user,
    "API_KEYS": lambda keys: ", ".join(
        f"{name}: {'+'.join(sorted(key.scopes))}" for name, key in keys.items()
    ),
    "PUSH": ", ".join,
    "PUSH_FORWARD": lambda receiver: str(urlsplit(receiver.url).hostname),
    "WEBHOOKS": ", ".join,
}
"""What may be seen of the settings that have something secret in them."""


def _plain(value: Any) -> str:
    """Return a value as it stands in the environment."""
    text = str(value)
    match value:
        case bool():
            text = "on" if value else "off"
        case timedelta():
            text = _short(value)
        case Limit():
            text = f"{value.most}/{_short(value.window)}"
        case (str(host), int(port)):
            text = f"{host}:{port}"
        case tuple():
            text = ",".join(map(str, value))
    return text


def _short(length: timedelta) -> str:
    """Return a duration as `duration` reads it, in the largest unit that fits."""
    seconds = length // timedelta(seconds=1)
    for unit, size in reversed(_UNITS.items()):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return str(seconds)


def _named_files(given: Mapping[str, object]) -> dict[str, Path]:
    """Return the files that hold values, by the names of their settings."""
    named = {name: given.get(name + IN_FILE) for name in FROM_FILES}
    return {
        name: Path(str(path).strip()) for name, path in named.items() if str(path or "").strip()
    }


def _value_in_file(path: Path, *, beside: object) -> str:
    """Return the value in a file: a text, or a list with an entry in each line.

    No fault names the path: somebody may have put the secret itself there.

    Raises:
        ValueError: there is no such value, or another one stands in the setting itself.
    """
    if str(beside or "").strip():
        raise ValueError("given twice, here and without _FILE; remove one of them")
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # each process reads it again
            raise ValueError("this is not a file; give the path of one that holds the value")
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise ValueError("the file is not text in UTF-8") from None
    except OSError as error:
        raise ValueError(
            f"{error.strerror}; give the path of a file that the user of this process may read"
        ) from None
    if len(content) > _LARGEST_FILE:
        raise ValueError("the file is larger than 1 MiB; give one that holds the value alone")
    value = ",".join(line.strip() for line in text.splitlines() if line.strip())
    if not value:
        raise ValueError("the file is empty; write the value into it")
    return value


def is_readable_by_everybody(path: Path) -> bool:
    """Return whether every user of this machine may read a file; not where modes say nothing."""
    return os.name == "posix" and path.is_file() and bool(path.stat().st_mode & stat.S_IROTH)


def _as_text(value: object, parse: Callable[[str], object]) -> str:
    """Return a native value as it stands in the environment, where `parse` reads it.

    So a native value is parsed like any other, and cannot mean anything else.

    Raises:
        ValueError: it is of another type, or would not be read as what it is.
    """
    separator = "/" if parse is _limit else ","
    match value:
        case dict() if parse in _OF_PAIRS:
            return separator.join(
                f"{_part(name, f':{separator}')}:{_part(entry, separator)}"
                for name, entry in value.items()
            )
        case list() | tuple() if not hasattr(value, "_fields"):  # SQLAlchemy's URL is a named tuple
            if parse is _dialects and not value:
                return NONE
            return separator.join(_part(entry, separator) for entry in value)
    text = _scalar(value)
    if text is None:
        several = "dict, list or tuple" if parse in _OF_PAIRS else "list or tuple"
        raise ValueError(
            f"a value of the type {type(value).__name__} is not accepted; give a str, int, bool,"
            f" timedelta, {several}"
        )
    return text


def _part(value: object, forbidden: str) -> str:
    text = None if isinstance(value, bool) else _scalar(value)
    if text is None:
        raise ValueError(f"has an entry of the type {type(value).__name__}")
    if set(text) & set(forbidden):
        raise ValueError(f"an entry must not contain {' or '.join(forbidden)}")
    return text


def _scalar(value: object) -> str | None:
    """Return the text of a value that has no parts; None if it is of a type that is unknown."""
    match value:
        case str():
            return value.strip()
        case bool():
            return "on" if value else "off"
        case int():
            return str(value)
        case timedelta():
            if value % timedelta(seconds=1) or value < timedelta(0):
                raise ValueError("not a duration of whole seconds")
            return f"{value // timedelta(seconds=1)}s" if value else "0"
    return None


def duration(text: str) -> timedelta:
    """Return the duration in a text like ``30s``, ``15m``, ``1h``, ``7d``, or ``0``.

    Raises:
        ValueError: the text is not a duration, or a very long one.
    """
    if text == "0":
        return timedelta(0)
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError("not a duration like 30s, 15m, 1h or 7d")
    length = timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    if length > timedelta(days=3650):
        raise ValueError("longer than ten years")
    return length


def _positive_duration(text: str) -> timedelta:
    length = duration(text)
    if not length:
        raise ValueError("must not be 0")
    return length


def _limit(text: str) -> Limit | None:
    if text == "0":
        return None
    most, slash, window = text.partition("/")
    if not (slash and re.fullmatch(r"\d{1,6}", most, re.ASCII) and int(most)):
        raise ValueError("not a limit like 30/10m (30 in ten minutes), or 0 for no limit")
    return Limit(int(most), _positive_duration(window))


def _database_timeout(text: str) -> timedelta:
    length = duration(text)
    if not _SHORTEST_DATABASE_TIMEOUT <= length <= _LONGEST_DATABASE_TIMEOUT:
        raise ValueError("must be between 3s and 60s")
    return length


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,6}", text, re.ASCII) or int(text) < least:
            raise ValueError(f"not a whole number of at least {least}")
        return int(text)

    return parse


_WEBHOOK = re.compile(
    r"(?P<name>[A-Za-z0-9_-]{1,32}):(?P<url>https?://[^,]+):(?P<secret>(whsec_)?[A-Za-z0-9+/=]+)",
    re.ASCII,
)
_SHORTEST_WEBHOOK_SECRET, _LONGEST_WEBHOOK_SECRET = 24, 64  # bytes; as Standard Webhooks has it

_SEVERAL_HOSTS = re.compile(r"(?P<head>[a-z+]+://([^@/]*@)?)(?P<hosts>[^@/?]+,[^@/?]+)(?P<tail>.*)")


def _database_url(text: str) -> str:
    """Return the URL as SQLAlchemy reads it: with our driver, and several hosts in the query."""
    match = _SEVERAL_HOSTS.fullmatch(text)
    if match:  # as libpq writes it: postgresql://user@one:5432,two:5432/name
        query = urlencode([("host", host) for host in match["hosts"].split(",")])
        text = match["head"] + match["tail"] + ("&" if "?" in match["tail"] else "?") + query
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("not an SQLAlchemy URL") from None
    backend, _, driver = url.drivername.partition("+")
    if backend in {"postgresql", "postgres"} and driver in {"", "psycopg"}:
        url = url.set(drivername="postgresql+psycopg")
    elif url.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise ValueError("not a URL of PostgreSQL (through psycopg 3) or SQLite")
    elif url.database in {None, "", ":memory:"} or "mode=memory" in text:
        raise ValueError("an SQLite database in memory forgets every session; name a file")
    return url.render_as_string(hide_password=False)


def _apps(text: str) -> dict[str, str]:
    apps: dict[str, str] = {}
    for entry in text.split(","):
        appid, colon, secret = (part.strip() for part in entry.partition(":"))
        if not (appid and colon and secret):
            raise ValueError("not of the form appid:secret[,appid:secret…]")
        if appid in apps:
            raise ValueError("has an appid twice")
        apps[appid] = secret
    return apps


_PUSH_TOKEN = re.compile(r"[A-Za-z0-9]{3,32}", re.ASCII)
_ENCODING_AES_KEY = re.compile(r"[A-Za-z0-9+/]{43}", re.ASCII)


def _push(text: str) -> dict[str, PushSecrets]:
    found: dict[str, PushSecrets] = {}
    for entry in text.split(","):
        appid, *rest = (part.strip() for part in entry.split(":"))
        if not appid or len(rest) not in {1, 2}:
            raise ValueError("not of the form appid:token:EncodingAESKey[,…]")
        if not _PUSH_TOKEN.fullmatch(rest[0]):
            raise ValueError("a token has 3 to 32 letters and digits")
        if len(rest) > 1 and not _ENCODING_AES_KEY.fullmatch(rest[1]):
            raise ValueError("an EncodingAESKey has 43 letters and digits")
        if appid in found:
            raise ValueError("has an appid twice")
        key = b64decode(rest[1] + "=") if len(rest) > 1 else None
        found[appid] = PushSecrets(rest[0], key)
    return found


def _ensure_unguessable(key: str, shortest: int) -> None:
    if len(key) < shortest:
        raise ValueError(f"every key needs at least {shortest} characters; {_CURE}")
    if len(set(key)) == 1 or key in _PUBLISHED:
        raise ValueError(f"has a key that anybody can guess or look up; {_CURE}")


def _secret_keys(text: str) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split(","))
    for key in keys:
        _ensure_unguessable(key, _SHORTEST_SECRET_KEY)
    if len(set(keys)) < len(keys):
        raise ValueError("has a key twice")
    return keys


def _api_keys(text: str) -> dict[str, ApiKey]:
    keys: dict[str, ApiKey] = {}
    for entry in text.split(","):
        name, key, scopes = _api_key_parts(entry)
        if len(name) > _LONGEST_API_KEY_NAME or not name.isprintable():
            raise ValueError(f"a name has at most {_LONGEST_API_KEY_NAME} printable characters")
        _ensure_unguessable(key, _SHORTEST_API_KEY)
        if not scopes <= set(SCOPES):
            raise ValueError(f"has an unknown scope; known are {', '.join(SCOPES)}")
        if name in keys or key in {known.key for known in keys.values()}:
            raise ValueError("has a name or a key twice")
        keys[name] = ApiKey(key, scopes)
    return keys


def _api_key_parts(entry: str) -> tuple[str, str, frozenset[str]]:
    parts = [part.strip() for part in entry.split(":")]
    match parts:
        case [name, key] if name and key:
            return name, key, frozenset(SCOPES[:1])
        case [name, key, scopes] if name and key:
            return name, key, frozenset(scope.strip() for scope in scopes.split("+"))
    raise ValueError("not of the form name:key[:scope+scope…][,…]; a key has no colon in it")


def _webhooks(text: str) -> dict[str, Webhook]:
    webhooks: dict[str, Webhook] = {}
    for entry in text.split(","):
        match = _WEBHOOK.fullmatch(entry.strip())
        if match is None:
            raise ValueError("not of the form name:https://…:secret[,…]")
        name, url = match["name"], match["url"]
        if not urlsplit(url).hostname:
            raise ValueError(f"{name} has no URL")
        if name in webhooks:
            raise ValueError("has a name twice")
        webhooks[name] = Webhook(name, url, _webhook_secret(match["secret"]))
    return webhooks


def _forward(text: str) -> Webhook:
    found = _WEBHOOK.fullmatch(f"forward:{text}")
    if found is None or not urlsplit(found["url"]).hostname:
        raise ValueError("not of the form https://…:secret")
    return Webhook("forward", found["url"], _webhook_secret(found["secret"]))


def _webhook_secret(text: str) -> bytes:
    try:
        secret = b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        secret = b""
    if not _SHORTEST_WEBHOOK_SECRET <= len(secret) <= _LONGEST_WEBHOOK_SECRET:
        raise ValueError(
            "a secret has to be 24 to 64 random bytes in base64, e.g. from openssl rand -base64 32"
        )
    return secret


def _switch(text: str) -> bool:
    if text.lower() not in {"on", "off"}:
        raise ValueError("must be on or off")
    return text.lower() == "on"


def _dialects(text: str) -> Literal["all"] | tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise ValueError("not names of dialects, each once, separated by commas")
    if len(names) > 1 and {ALL, NONE} & set(names):
        raise ValueError(f"{ALL} and {NONE} cannot be combined with other names")
    if names == (ALL,):
        return ALL
    return () if names == (NONE,) else names


def _header_name(text: str) -> str:
    # No underscore: WSGI cannot tell it from a hyphen, and gunicorn drops such headers.
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", text, re.ASCII):
        raise ValueError("not a header name of letters, digits and hyphens")
    return text


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        raise ValueError("not an http or https URL")
    return text.rstrip("/")


def _issuer(text: str) -> str:
    url = _http_url(text)
    if urlsplit(url).fragment:
        raise ValueError("not an http or https URL without a fragment")
    return url


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.strip().lower() for origin in text.split(","))
    for origin in origins:
        match = re.fullmatch(
            r"(https?)://([a-z0-9.-]{1,253}|\[[0-9a-f:]+\])(:\d{1,5})?", origin, re.ASCII
        )
        if not match:
            raise ValueError("not origins like https://shop.example.com, separated by commas")
        if match[1] == "http" and match[2] not in _THIS_MACHINE:
            raise ValueError("has an origin without https, on another machine than this one")
        if match[3] == {"http": ":80", "https": ":443"}[match[1]]:
            raise ValueError("has an origin with its default port; leave that out, as browsers do")
    if len(set(origins)) < len(origins):
        raise ValueError("has an origin twice")
    return origins


def _access_token_lifetime(text: str) -> timedelta:
    length = duration(text)
    if length > _LONGEST_ACCESS_TOKEN:
        raise ValueError("a logout must not go unseen for more than 1h")
    return length


def _timeouts(text: str) -> tuple[float, float]:
    try:
        connect, read = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError("not two numbers of seconds like 3,5") from None
    if not (0 < connect <= 60 and 0 < read <= 60):  # noqa: PLR2004 - a minute, for each
        raise ValueError("both must be above 0 and at most 60 seconds")
    return connect, read


def _address(text: str) -> tuple[str, int] | None:
    if text.lower() == "off":
        return None
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.path or parts.username is not None:
        raise ValueError("not an address and a port like 127.0.0.1:9464, or off")
    return host, port


def _url_prefix(text: str) -> str | None:
    if text == "/":
        return None
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text, re.ASCII):
        raise ValueError("not a path like /auth, or / for none")
    return text


_PARSERS: Mapping[str, Callable[[str], object]] = {
    "DATABASE_URL": _database_url,
    "APPS": _apps,
    "SECRET_KEYS": _secret_keys,
    "WECHAT_URL": _http_url,
    "WECHAT_TIMEOUT": _timeouts,
    "THREADS": _whole(1),
    "WECHAT_CONCURRENCY": _whole(1),
    "IDLE_TIMEOUT": _positive_duration,
    "ABSOLUTE_TIMEOUT": _positive_duration,
    "TOUCH_INTERVAL": duration,
    "REFRESH_GRACE": duration,
    "LOGIN_REPLAY": duration,
    "MAX_SESSIONS": _whole(1),
    "RETENTION": duration,
    "AUDIT_RETENTION": duration,
    "API_KEYS": _api_keys,
    "PUSH": _push,
    "PUSH_FORWARD": _forward,
    "WEBHOOKS": _webhooks,
    "WEBHOOKS_TO_PRIVATE": _switch,
    "ACCESS_TOKEN_LIFETIME": _access_token_lifetime,
    "ISSUER": _issuer,
    "TICKET_AUDIENCES": _origins,
    "COOKIE": _switch,
    "API_PAGE": _switch,
    "DEVICE_LOGIN": _switch,
    "LINK_BY_UNIONID": _switch,
    "CODE_LIMIT": _limit,
    "REGISTRATION_LIMIT": _limit,
    "CHECK_SESSION_KEYS": _switch,
    "DIALECTS": _dialects,
    "CODE_HEADER": _header_name,
    "TOKEN_HEADER": _header_name,
    "URL_PREFIX": _url_prefix,
    "TRUSTED_PROXIES": _whole(0),
    "POOL_SIZE": _whole(1),
    "DATABASE_TIMEOUT": _database_timeout,
    "PREPARED_STATEMENTS": _switch,
    "ACCESS_LOG": _switch,
    "CONSOLE_URL": _http_url,
    "METRICS": _address,
}

_REQUIRED = {
    "DATABASE_URL": "an SQLAlchemy URL",
    "APPS": "appid:secret[,appid:secret…], from the mini-program's console",
    "SECRET_KEYS": "a random key of 32 characters or more, e.g. from openssl rand -hex 32",
}


_OF_PAIRS = frozenset({_apps, _api_keys, _push})

FROM_FILES = (
    *("DATABASE_URL", "APPS", "SECRET_KEYS", "API_KEYS"),
    *("PUSH", "PUSH_FORWARD", "WEBHOOKS"),
)
"""The settings whose value may be in a file; a list has one entry in each line."""


def unknown_dialects(named: Collection[str], known: Collection[str]) -> list[str]:
    """Return what is wrong if one of these names is not known."""
    if set(named) <= set(known):
        return []
    return [f"WXSESSION_DIALECTS: has an unknown name; known are {', '.join(known)}"]
