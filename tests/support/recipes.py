"""The recipes of `recipes/`, run: back ends and proxies of other people, with our answers."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import requests

from tests.support.service import ROOT, Server

RECIPES: Final = ROOT / "recipes"

API_KEY: Final = "an-api-key-that-is-made-up-for-tests"


class BackEnd(Server):
    """A recipe of a back end, called as its documents say; `wxsession` is what it asks."""

    def __init__(self, name: str, wxsession: str, *command: str) -> None:
        """Start nothing yet."""
        environment = {"WXSESSION": wxsession, "API_KEY_NAME": "shop", "API_KEY": API_KEY}
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


def go(wxsession: str) -> BackEnd:
    """Return the shop of `recipes/go/introspection`; there has to be a Go that compiles it."""
    return BackEnd("go/introspection", wxsession, "go", "run", ".")


GO_OIDC: Final = Path("/usr/share/gocode/src/github.com/coreos/go-oidc")
"""Debian's package golang-github-coreos-go-oidc-dev, which is compiled without a download."""


def go_signed(wxsession: str, folder: Path) -> BackEnd:
    """Return the shop of `recipes/go/signed`, with Debian's go-oidc; `folder` is for its sources.

    That is an older one than the recipe asks for. What the recipe calls is the same in both, and
    so are the words of their errors.
    """
    oidc = folder / "src/github.com/coreos/go-oidc/v3/oidc"
    if not oidc.exists():
        oidc.parent.mkdir(parents=True)
        oidc.symlink_to(GO_OIDC)
    sources = {"GO111MODULE": "off", "GOPATH": f"{folder}:/usr/share/gocode"}
    return BackEnd("go/signed", wxsession, "env", *map("=".join, sources.items()), "go", "run", ".")


class Proxy(Server):
    """A proxy as its recipe has it, with the addresses and the key that hold here.

    `wxsession` is what it asks, `application` what is behind it.
    """

    program: str

    def __init__(self, folder: Path, *, wxsession: str, application: str) -> None:
        """Start nothing yet; `folder` is for its files."""
        super().__init__({"HOME": str(folder)}, folder=folder)
        self._wxsession = wxsession
        self._application = application

    def configured(self, recipe: str) -> str:
        """Return the text of a recipe, as it is meant here."""
        text = (RECIPES / recipe).read_text("utf-8")
        here = {
            "127.0.0.1:8000": self._wxsession.removeprefix("http://"),
            "127.0.0.1:8080": self._application.removeprefix("http://"),
            "YOUR-API-KEY": API_KEY,
        }
        for printed, meant in here.items():
            assert printed in text
            text = text.replace(printed, meant)
        return text

    def answers(self) -> bool:
        """Return whether it serves, and knows its recipe."""
        with suppress(requests.RequestException):
            return self.http.get(f"{self.url}/orders/html", timeout=2).status_code != 404
        return False


class Caddy(Proxy):
    """Caddy."""

    program = "caddy"

    def command(self) -> list[str]:
        """Return how it is called, unprivileged."""
        text = self.configured("caddy/Caddyfile").replace("shop.example.com", self.url)
        (self._folder / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{text}", "utf-8")
        return ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"]


class Traefik(Proxy):
    """Traefik."""

    program = "traefik"

    def command(self) -> list[str]:
        """Return how it is called."""
        text = self.configured("traefik/dynamic.yml").replace("shop.example.com", "127.0.0.1")
        (self._folder / "dynamic.yml").write_text(text, "utf-8")
        entry = f"--entryPoints.web.address=127.0.0.1:{self.port}"
        return ["traefik", entry, "--providers.file.filename=dynamic.yml", "--log.level=ERROR"]
