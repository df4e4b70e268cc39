"""A simulated WeChat for tests and development: the mini-program login, with its errors.

In a test it is a transport for `requests`:

    wechat = WeChat({"wx0123456789abcdef": "secret"}, clock=SettableClock())
    session = wechat_transport(wechat)
    code = wechat.login("alice")
    wechat.fail_next(Fault.CONNECTION_RESET)

and otherwise a server: `flask --app wxsession.simulator run`. State and rules are in `wechat` and
below it, without HTTP; HTTP is in `http`, `wire` and `control`, without rules. Production code
never imports any of it.
"""

from .clock import SettableClock
from .errors import WeChatError
from .faults import Fault
from .http import create_app
from .push import Push
from .transport import wechat_transport
from .wechat import WeChat

__all__ = [
    "Fault",
    "Push",
    "SettableClock",
    "WeChat",
    "WeChatError",
    "create_app",
    "wechat_transport",
]
