# The types of Flask-Sock, which it does not have itself: as much as the shop uses.

from collections.abc import Callable

from flask import Blueprint, Flask
from simple_websocket import Server

class Sock:
    def init_app(self, app: Flask) -> None: ...
    def route(
        self, path: str, bp: Blueprint | None = None
    ) -> Callable[[Callable[[Server], None]], None]: ...
