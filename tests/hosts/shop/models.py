"""What the shop stores; two of its tables are called as in many applications."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, String, func
from sqlalchemy.orm import Mapped, mapped_column

from .extensions import Base


class User(Base):
    """A customer; `wxsession_id` is the id that wxsession has for the same person."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    wxsession_id: Mapped[UUID] = mapped_column(unique=True)
    email: Mapped[str | None] = mapped_column(String(255), index=True)


class Visit(Base):
    """When somebody was here."""

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    began_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Order(Base):
    """What somebody wants, and the session in which it was ordered."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    session_id: Mapped[UUID]
    what: Mapped[str] = mapped_column(String(64))


class Position(Base):
    """How far the shop has read what happened to its users: one row."""

    __tablename__ = "feed_position"

    id: Mapped[int] = mapped_column(primary_key=True)
    cursor: Mapped[str | None] = mapped_column(String(64))
