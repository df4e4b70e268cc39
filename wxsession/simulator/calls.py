"""What a server asks WeChat, and what WeChat replies: HTTP left at the door."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from .errors import WeChatError, require
from .faults import Fault


class Endpoint(Enum):
    """An endpoint around the access token."""

    STABLE_TOKEN = auto()
    USER_PHONE_NUMBER = auto()
    CHECK_SESSION = auto()
    RESET_SESSION_KEY = auto()


@dataclass(frozen=True)
class Call:
    """One call of the server API. `body` is None where the call was no POST."""

    query: Mapping[str, str]
    client_ip: str
    body: bytes | None = None

    def posted(self) -> Mapping[str, object]:
        """Return the JSON object in the body.

        Raises:
            WeChatError: 43002 it was no POST; 44002 the body is empty; 47001 it is something else,
                as a form is.
        """
        if self.body is None:
            raise WeChatError.of(43002)
        require(bool(self.body), 44002)
        try:
            posted = json.loads(self.body)
        except (ValueError, RecursionError):
            posted = None
        if not isinstance(posted, dict):
            raise WeChatError.of(47001)
        return posted

    def code(self) -> str:
        """Return the code in the body; "" where there is none."""
        try:
            code = self.posted().get("code")
        except WeChatError:
            return ""
        return code if isinstance(code, str) else ""


@dataclass(frozen=True)
class Reply:
    """What WeChat answers to one call, and what happens to the answer on its way."""

    answer: Mapping[str, object] | WeChatError
    rid: str
    fault: Fault | None = None
    delay: float = 0.0
