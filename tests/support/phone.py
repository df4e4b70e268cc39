"""A phone that runs a mini-program of ours: logs in, keeps its token, asks with it."""

from dataclasses import dataclass
from typing import Any, cast

from flask import Flask
from werkzeug.test import TestResponse

from tests.support.settings import APPID
from wxsession.simulator import WeChat

USER_AGENT = "Mozilla/5.0 (iPhone) MicroMessenger/8.0.50 MiniProgramEnv"


class Answer(TestResponse):
    """An answer whose JSON is whatever the test expects it to be."""

    json: Any


@dataclass
class Phone:
    """Somebody's phone; `token` is what the last login or refresh handed back."""

    app: Flask
    wechat: WeChat
    user: str
    appid: str = APPID
    address: str = "203.0.113.7"
    user_agent: str = USER_AGENT
    token: str | None = None
    referer: str | None = None

    def code(self) -> str:
        """Return a code of wx.login."""
        return self.wechat.login(self.user, self.appid)

    def log_in(self, code: str | None = None, *, token: str | None = None) -> Answer:
        """Log in with a new code, or with this one, and keep the token of the grant."""
        body = {"code": code or self.code(), "appid": self.appid}
        return self._keep(self.send("POST", "/login", json=body, token=token))

    def check(self, token: str | None = None) -> Answer:
        """Ask whether the session is good."""
        return self.send("GET", "/check_session", token=token or self.token)

    def refresh(self, token: str | None = None) -> Answer:
        """Ask for the next token, and keep it."""
        return self._keep(self.send("POST", "/refresh", token=token or self.token))

    def lose_refresh(self, token: str | None = None) -> Answer:
        """Ask for the next token, and lose the answer."""
        return self.send("POST", "/refresh", token=token or self.token)

    def log_out(self, token: str | None = None, *, everywhere: bool = False) -> Answer:
        """End the session."""
        body = {"everywhere": True} if everywhere else None
        return self.send("POST", "/logout", json=body, token=token or self.token)

    def sessions(self) -> list[dict[str, Any]]:
        """Return the user's sessions as the server lists them."""
        answer = self.send("GET", "/sessions", token=self.token)
        assert answer.status_code == 200, answer.text
        listed: list[dict[str, Any]] = answer.json["sessions"]
        return listed

    def send(self, method: str, path: str, *, token: str | None = None, **request: Any) -> Answer:
        """Send a request as this phone does."""
        headers = {"User-Agent": self.user_agent, **request.pop("headers", {})}
        if self.referer is not None:
            headers["Referer"] = self.referer
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        client = self.app.test_client(use_cookies=False)  # wx.request has none either
        environ = {"REMOTE_ADDR": self.address}
        answer = client.open(
            path, method=method, headers=headers, environ_overrides=environ, **request
        )
        return cast("Answer", answer)

    def _keep(self, answer: Answer) -> Answer:
        if answer.status_code == 200:
            self.token = answer.json["session_token"]
        return answer


def same_for_all(body: dict[str, Any]) -> dict[str, Any]:
    """Return a problem without the id of its request."""
    return {name: value for name, value in body.items() if name != "request_id"}


def problem(answer: TestResponse) -> tuple[int, str, str | None]:
    """Return status, code and reason of a problem, having seen that it has the form of one."""
    assert answer.mimetype == "application/problem+json", answer.text
    body: Any = answer.json
    assert {"type", "title", "status", "detail", "code", "retryable"} <= body.keys()
    assert body["status"] == answer.status_code
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code, body["code"], body.get("reason")
