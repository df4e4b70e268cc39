"""The extensions, which `create_app` gives their application."""

from typing import TYPE_CHECKING

from flask_migrate import Migrate
from flask_sock import Sock
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from wxsession import WxSession
from wxsession.alembic import is_ours

if TYPE_CHECKING:
    from .models import User


class Base(DeclarativeBase):
    """The base of all models: type checkers know it, and `db.Model` they do not."""


db = SQLAlchemy(model_class=Base)
migrate = Migrate()
sock = Sock()
wxsession: "WxSession[User]" = WxSession()


def include_object(_item: object, name: str | None, kind: str, *_: object) -> bool:
    """Keep wxsession's tables out of the migrations."""
    return not is_ours(name, kind)
