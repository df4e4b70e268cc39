"""The extensions, which `create_app` gives their application."""

from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from wxsession import WxSession
from wxsession.alembic import is_ours


class Base(DeclarativeBase):
    """The base of all models."""


db = SQLAlchemy(model_class=Base)
migrate = Migrate()
wxsession = WxSession()


def include_object(_item: object, name: str | None, kind: str, *_: object) -> bool:
    """Keep wxsession's tables out of the migrations."""
    return not is_ours(name, kind)
