"""Adapters of `requests`: one for servers that are slow, one for addresses that are not known."""

import io
import ipaddress
import socket
import time
from collections.abc import Mapping
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, Final

from requests.adapters import HTTPAdapter
from urllib3 import ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

NOT_PUBLIC: Final = "its address is not public"


class _Answer(HTTPResponse):
    """A response that comes within the read timeout, and not only each part of it."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_InTime(sock))


class _InTime(io.RawIOBase):
    """What a socket receives, until its timeout is over: by itself that is for each read.

    A server that sends a byte now and then would otherwise be waited for without an end.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._socket = sock
        self._received = sock.makefile("rb", buffering=0)
        timeout = sock.gettimeout()
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


class _Connection(HTTPConnection):
    response_class = _Answer


class _TlsConnection(HTTPSConnection):
    response_class = _Answer


class _PublicConnection(_Connection):
    def _new_conn(self) -> socket.socket:
        return _public(self, super()._new_conn())


class _PublicTlsConnection(_TlsConnection):
    def _new_conn(self) -> socket.socket:
        return _public(self, super()._new_conn())


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _PublicPool(HTTPConnectionPool):
    ConnectionCls = _PublicConnection


class _PublicTlsPool(HTTPSConnectionPool):
    ConnectionCls = _PublicTlsConnection


class TimelyAdapter(HTTPAdapter):
    """Waits for a response no longer than the read timeout, though it comes byte by byte.

    A proxy of SOCKS alone makes connections of its own, for which each read may take that long.
    """

    pools: Mapping[str, Any] = {"http": _Pool, "https": _TlsPool}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Connect by our pools."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {**self.pools}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pools through a proxy, which are ours as well."""
        manager = super().proxy_manager_for(*args, **kwargs)
        if isinstance(manager, ProxyManager):
            manager.pool_classes_by_scheme = {**self.pools}
        return manager


class PublicAdapter(TimelyAdapter):
    """Refuses a connection to an address that is not public, whatever a name resolves to."""

    pools: Mapping[str, Any] = {"http": _PublicPool, "https": _PublicTlsPool}


def _public(connection: HTTPConnection, opened: socket.socket) -> socket.socket:
    """Return the socket, if it leads to a public address; nothing was sent over it yet."""
    address = ipaddress.ip_address(opened.getpeername()[0].partition("%")[0])
    if not address.is_global or address.is_multicast:
        opened.close()
        raise NewConnectionError(connection, NOT_PUBLIC)
    return opened
