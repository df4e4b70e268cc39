"""A WeChat that remembers what it was told: the mini-program login, for tests and for development.

In a test it is a transport for `requests`:

    wechat = WeChat({"wx0123456789abcdef": "secret"}, clock=SettableClock())
    session = wechat_transport(wechat)
    code = wechat.login("alice")
    wechat.fail_next(Fault.CONNECTION_RESET)

and for everybody else a server: `flask --app wxsession.simulator run`. State and rules are in
`wechat` and below it, without HTTP; HTTP is in `http` and `control`, without rules.
Production never imports any of it.
"""

from .clock import SettableClock
from .errors import WeChatError
from .faults import Fault
from .http import create_app
from .transport import wechat_transport
from .wechat import WeChat

__all__ = ["Fault", "SettableClock", "WeChat", "WeChatError", "create_app", "wechat_transport"]
