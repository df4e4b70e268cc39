"""The errors that WeChat answers: numbers, messages, and the exception that carries them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Verbatim, as the live endpoints write them: the official table has lost its commas.
# -1 and 45011 were seen at the similar /sns/oauth2/access_token; 40014, 40097, 40226, 87007 and
# 87008 are known from the documentation only; 40243 is documented for another endpoint, and its
# message is invented. That any endpoint here answers 40003 is a choice.
ERRMSGS: Final[Mapping[int, str]] = MappingProxyType(
    {
        -1: "system error",
        40001: (
            "invalid credential, access_token is invalid or not latest, could get access_token by "
            "getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"
        ),
        40002: "invalid grant_type",
        40003: "invalid openid",
        40013: "invalid appid",
        40014: "invalid access_token",
        40029: "invalid code",
        40097: "invalid args",
        40125: "invalid appsecret",
        40163: "code been used",
        40164: "invalid ip {ip} ipv6 ::ffff:{ip}, not in whitelist",
        40226: "code blocked",
        40243: "appsecret frozen",
        41001: "access_token missing",
        41002: "appid missing",
        41004: "appsecret missing",
        41008: "missing code",
        42001: "access_token expired",
        43002: "require POST method",
        44002: "empty post data",
        45009: "reach max api daily quota limit",
        45011: "api minute-quota reach limit, must slower, retry next minute",
        47001: "data format error",
        87007: "session_key is not existd or expired",  # sic
        87008: "invalid sig_method",
        87009: "invalid signature",
    }
)


class WeChatError(Exception):
    """WeChat answered with an error.

    Attributes:
        errcode: the number to branch on.
        errmsg: the message, without the rid that follows it in a response.
    """

    def __init__(self, errcode: int, errmsg: str) -> None:
        """Carry this errcode and this errmsg."""
        super().__init__(errcode, errmsg)
        self.errcode = errcode
        self.errmsg = errmsg

    @classmethod
    def of(cls, errcode: int, client_ip: str = "127.0.0.1") -> "WeChatError":
        """Return the error with the message that WeChat sends to this client."""
        return cls(errcode, ERRMSGS.get(errcode, "unspecified error").format(ip=client_ip))


def require(fulfilled: bool, errcode: int) -> None:  # noqa: FBT001 - reads as the rule it is
    """Refuse a request that does not fulfil a condition.

    Raises:
        WeChatError: the condition is false.
    """
    if not fulfilled:
        raise WeChatError.of(errcode)
