"""The recipes of `recipes/`, run: back ends and proxies of other people, with our answers."""

import sys
from contextlib import suppress
from typing import Final

import requests

from tests.support.service import ROOT, Server

RECIPES: Final = ROOT / "recipes"

API_KEY: Final = "an-api-key-that-is-made-up-for-tests"


class BackEnd(Server):
    """A recipe of a back end, called as its documents say; `wxsession` is what it asks."""

    def __init__(self, name: str, wxsession: str, *command: str) -> None:
        """Start nothing yet."""
        environment = {"WXSESSION": wxsession, "API_KEY": API_KEY}
        super().__init__(environment, folder=RECIPES / name)
        self._environment |= {"PORT": str(self.port)}
        self._command = [word.replace("$PORT", str(self.port)) for word in command]

    def command(self) -> list[str]:
        """Return how it is called."""
        return self._command

    def answers(self) -> bool:
        """Return whether it serves: whatever it says to a request without a session."""
        with suppress(requests.RequestException):
            return self.http.get(f"{self.url}/orders", timeout=2).status_code > 0
        return False


def express(wxsession: str) -> BackEnd:
    """Return the shop of `recipes/express`."""
    return BackEnd("express", wxsession, "node", "shop.js")


def fastapi(wxsession: str) -> BackEnd:
    """Return the shop of `recipes/fastapi`."""
    uvicorn = (sys.executable, "-m", "uvicorn", "shop:app", "--port", "$PORT")
    return BackEnd("fastapi", wxsession, *uvicorn)
