"""The client of a request: its address, in one form however a proxy writes it, and user agent."""

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple, Self

from wxsession.storage.tables import LONGEST_ADDRESS, LONGEST_USER_AGENT

_IPV6_PREFIX = 64  # the network of one customer
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: translated IPv4 addresses
_WITH_PORT = re.compile(r"\[(?P<v6>[^\]]+)\](:\d+)?|(?P<v4>[\d.]+):\d+", re.ASCII)


class ClientInfo(NamedTuple):
    """A client: the address that our own proxies report, and the User-Agent that it sends."""

    address: str | None
    user_agent: str | None

    @classmethod
    def of(cls, address: str | None, user_agent: str) -> Self:
        """Return who sent a request, cut to what a row can hold."""
        address = address_of(address or "")
        agent = user_agent.replace("\0", "")
        return cls(address[:LONGEST_ADDRESS] or None, agent[:LONGEST_USER_AGENT] or None)


def address_of(text: str) -> str:
    """Return an address without the port that some load balancers append.

    An IPv4 address inside an IPv6 one becomes that IPv4 address; other text stays as it is.
    """
    ip = _parsed(text)
    return text if ip is None else str(ip)


def network_of(text: str) -> str:
    """Return the network that counts as one client: an IPv4 address, or the /64 of an IPv6 one."""
    ip = _parsed(text)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, _IPV6_PREFIX), strict=False))
    return text if ip is None else str(ip)


@lru_cache(maxsize=1024)  # most requests come from a few addresses
def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    match = _WITH_PORT.fullmatch(text)
    bare = (match["v6"] or match["v4"]) if match else text
    try:
        ip = ipaddress.ip_address(bare.partition("%")[0])  # without the zone, as in fe80::1%eth0
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        return ip.ipv4_mapped or ip
    return ip
