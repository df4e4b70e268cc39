"""What WeChat says when it says no."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Verbatim, as the live endpoint writes them: the official table has lost its commas.
# -1 and 45011 were seen on the sibling /sns/oauth2/access_token; 40226 is known from the
# documentation alone; 40243 is documented for another endpoint, and its text is made up.
ERRMSGS: Final[Mapping[int, str]] = MappingProxyType(
    {
        -1: "system error",
        40002: "invalid grant_type",
        40013: "invalid appid",
        40029: "invalid code",
        40125: "invalid appsecret",
        40163: "code been used",
        40164: "invalid ip {ip} ipv6 ::ffff:{ip}, not in whitelist",
        40226: "code blocked",
        40243: "appsecret frozen",
        41002: "appid missing",
        41004: "appsecret missing",
        41008: "missing code",
        45011: "api minute-quota reach limit, must slower, retry next minute",
    }
)


class WeChatError(Exception):
    """A call that WeChat answered with an error.

    Attributes:
        errcode: the number to branch on.
        errmsg: the text, without the rid that every answer appends on the wire.
    """

    def __init__(self, errcode: int, errmsg: str) -> None:
        """Say no, in a number and in words."""
        super().__init__(errcode, errmsg)
        self.errcode = errcode
        self.errmsg = errmsg

    @classmethod
    def of(cls, errcode: int, client_ip: str = "127.0.0.1") -> "WeChatError":
        """Make the error that WeChat would send to this client."""
        return cls(errcode, ERRMSGS.get(errcode, "unspecified error").format(ip=client_ip))
