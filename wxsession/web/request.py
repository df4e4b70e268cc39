"""What every HTTP edge reads from a request in the same way."""

import base64
import re
from urllib.parse import unquote_plus

from flask import Request

from wxsession.accounts.api_keys import ApiKeys, BackEnd
from wxsession.errors import InvalidApiKey, MissingToken
from wxsession.settings import Settings
from wxsession.users.client import ClientInfo

ROUTE = "wxsession.route"
"""Where the environment has the pattern of the path, never the path itself; not if none fits."""

# WeChat sets it and a mini-program cannot, but any other client can: a hint, never a proof.
# Source: "wx.request" and "网络 / 使用说明" in the mini-program documentation.
_REFERER = re.compile(r"https://servicewechat\.com/(wx[0-9a-f]{16})/")


COOKIE = "__Host-wxsession"
"""A browser takes a cookie with this prefix only over HTTPS, for the whole of one host."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def bearer_token(request: Request) -> str:
    """Return the session token that the request presents.

    Raises:
        MissingToken: there is no ``Authorization: Bearer``.
    """
    return bearer_in(request.headers.get("Authorization", ""))


def bearer_in(authorization: str) -> str:
    """Return the session token in the value of ``Authorization`` (RFC 6750, 2.1).

    Raises:
        MissingToken: it has another scheme, or none.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise MissingToken
    return token.strip(" \t")  # what RFC 9110 calls white space, and nothing else


def presented_token(request: Request) -> str | None:
    """Return the session token that the request presents, if it presents one."""
    try:
        return bearer_token(request)
    except MissingToken:
        return None


def cookie_token(request: Request, settings: Settings) -> str | None:
    """Return the session token in the cookie of a web-view, if that counts.

    A browser adds it to requests of other pages as well. Those that change nothing are harmless,
    because SameSite=Lax leaves it out wherever another page would see the response.
    """
    if not settings.cookie:
        return None
    token = request.cookies.get(COOKIE)
    if not token or (
        request.method not in _SAFE_METHODS and not _is_of_own_page(request, settings)
    ):
        return None
    return token


def _is_of_own_page(request: Request, settings: Settings) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("Origin") == settings.origin


def issuer_of(request: Request, settings: Settings) -> str:
    """Return the address of this server: as it is set, else as the client has it."""
    return settings.issuer or request.url_root.rstrip("/") + (settings.url_prefix or "")


def header_of(request: Request, name: str | None) -> str | None:
    """Return the value of a header; None if it is missing, empty or ``undefined``.

    JavaScript writes ``undefined`` for a value that was never set.
    """
    if name is None:
        return None
    value = request.headers.get(name, "").strip(" \t")
    return None if value in {"", "undefined"} else value


def api_key_of(request: Request) -> tuple[str | None, str]:
    """Return the API key that the request presents, and the name that comes with it.

    There is a name with HTTP Basic, and no name with Bearer. Both are as they were sent.

    Raises:
        InvalidApiKey: there is neither, or it cannot be read.
    """
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    credentials = credentials.strip(" \t")
    if scheme.lower() == "bearer":
        return None, credentials
    if scheme.lower() != "basic":
        raise InvalidApiKey
    try:
        pair = base64.b64decode(credentials, validate=True).decode()
    except ValueError:  # not ASCII, not base64 or not UTF-8: each is a ValueError
        raise InvalidApiKey from None
    name, colon, key = pair.partition(":")
    if not colon:
        raise InvalidApiKey
    return name, key


def back_end_of(request: Request, api_keys: ApiKeys) -> BackEnd:
    """Return the back end whose API key the request presents.

    Raises:
        InvalidApiKey: it presents none, or one that is unknown; the audit counts that.
        TooManyAttempts: it presents one that is unknown, as many did from this address.
    """
    client = client_of(request)
    try:
        name, key = api_key_of(request)
    except InvalidApiKey:
        # Not limited: many HTTP libraries send their key only after a 401 has asked for it.
        api_keys.note_refusal(client)
        raise
    if name is not None and api_keys.find(name, key) is None:
        # RFC 6749, 2.3.1 wants them form-urlencoded; curl and most others send them as they are.
        name, key = unquote_plus(name), unquote_plus(key)
    return api_keys.holder(name, key, client)


def client_of(request: Request) -> ClientInfo:
    """Return who sent the request, cut to what a row can hold; trusted proxies are resolved."""
    return ClientInfo.of(request.remote_addr, request.headers.get("User-Agent", ""))


def referring_appid(request: Request) -> str | None:
    """Return the appid of the mini-program that WeChat names as the referer, if it does."""
    match = _REFERER.match(request.headers.get("Referer", ""))
    return match[1] if match else None
