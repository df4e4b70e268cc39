"""WeChat's messages in tests: an app of ours with a key, one without, and their way to a server."""

from typing import cast

from flask import Flask

from tests.support.phone import Answer
from tests.support.settings import APPID, OTHER_APPID
from wxsession.simulator import Push

KEY = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
MESSAGES = {APPID: ("Token0123", KEY), OTHER_APPID: ("Plain", None)}
SETTING = f"{APPID}:Token0123:{KEY},{OTHER_APPID}:Plain"


def delivered(app: Flask, message: Push) -> Answer:
    """Send a request of WeChat's to a server of ours, and return the answer."""
    answer = app.test_client().open(
        message.path,
        method=message.method,
        query_string=dict(message.query),
        data=message.body,
        content_type=message.content_type or None,
    )
    return cast("Answer", answer)
