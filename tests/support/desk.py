"""An admin of the console at a browser: follows a link, has an authenticator app, sends forms."""

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Any

import pyotp
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.app import services_of
from wxsession.console.admission import COOKIE
from wxsession.operations.admins.admin import Role
from wxsession.operations.admins.totp import PERIOD
from wxsession.simulator import SettableClock

ORIGIN = "https://console.test"
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
PASSWORD = "correct horse battery"


@dataclass
class Desk:
    """A browser, and whoever sits there; `secret` is that of the authenticator app."""

    console: Flask
    clock: SettableClock
    name: str
    address: str = "198.51.100.9"
    language: str = "en"
    prefix: str = ""
    secret: str = ""
    client: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        """Open the browser."""
        self.client = self.console.test_client()

    def added(self, role: Role = Role.OWNER) -> str:
        """Become an admin; return the path of the link."""
        link = services_of(self.console).admins.add(self.name, role, actor="root")
        return f"/link/{link.token}"

    def enter(self, role: Role = Role.OWNER) -> "Desk":
        """Become an admin who is signed in."""
        assert self.accept(self.added(role)).status_code == 303
        return self

    def accept(self, link: str, *, password: str = PASSWORD) -> TestResponse:
        """Set a password, and scan the QR code."""
        self.scan(link)
        return self.post(link, password=password, code=self.code())

    def scan(self, link: str) -> None:
        """Scan the QR code of a link."""
        found = re.search(r'class="secret">(\w+)<', self.get(link).text)
        assert found
        self.secret = found[1]

    def sign_in(self, *, password: str = PASSWORD, code: str | None = None) -> TestResponse:
        """Send the form of the door, with the next code unless another one is given."""
        if code is None:
            self.clock.advance(seconds=PERIOD)  # no code is good twice
        return self.post("/sign-in", name=self.name, password=password, code=code or self.code())

    def code(self) -> str:
        """Return what the authenticator app shows."""
        return pyotp.TOTP(self.secret).at(self.clock())

    def get(self, path: str, **headers: str) -> TestResponse:
        """Return a page."""
        return self._send("GET", path, headers)

    def post(self, path: str, **form: str) -> TestResponse:
        """Return the answer to a form of a page of the console."""
        return self._send("POST", path, OWN_PAGE, form)

    def act(self, path: str, **form: str) -> TestResponse:
        """Return the answer to a form that is of this session."""
        return self.post(path, form_token=self.form_token(), **form)

    def form_token(self) -> str:
        """Return what a page of this session has in its forms."""
        found = re.search(r'name="form_token" value="([^"]+)"', self.get("/account").text)
        assert found
        return found[1]

    @property
    def cookie(self) -> str | None:
        """What the browser has of a session."""
        found = self.client.get_cookie(COOKIE, "console.test")
        return found.value if found else None

    @property
    def is_in(self) -> bool:
        """Whether the console lets this browser in."""
        return self.get("/account").status_code == 200

    def _send(
        self, method: str, path: str, headers: dict[str, str], form: dict[str, str] | None = None
    ) -> TestResponse:
        return self.client.open(
            self.prefix + path,
            method=method,
            data=form,
            headers={"Accept-Language": self.language, **headers},
            base_url=ORIGIN,
            environ_overrides={"REMOTE_ADDR": self.address},
        )


def words_of(answer: TestResponse) -> str:
    """Return what a page says to people, in one line."""
    text: Any = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", answer.text, flags=re.DOTALL)
    return " ".join(unescape(text).split())
