"""Who the customers are, and what becomes of them when two turn out to be one."""

from uuid import UUID

from flask import Blueprint, Flask
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from wxsession import Event, signals

from .extensions import db, wxsession
from .models import Order, Position, User, Visit

customers = Blueprint("customers", __name__)


@wxsession.user_loader
def customer_of(user_id: UUID) -> User:
    """Return a customer, whom the first request creates."""
    # The user may have been merged since the session was checked: nobody must get the old id again.
    return _known(user_id) or _known_or_new(wxsession.current_id(user_id))


def _known(user_id: UUID) -> User | None:
    return db.session.scalar(select(User).where(User.wxsession_id == user_id))


def _known_or_new(user_id: UUID) -> User:
    try:
        with db.session.begin_nested():
            db.session.add(User(wxsession_id=user_id))
    except IntegrityError:  # known under the new id, or another request was faster
        pass
    return db.session.scalars(select(User).where(User.wxsession_id == user_id)).one()


def merge(old_id: UUID, new_id: UUID) -> None:
    """Give what the user `old_id` has to `new_id`; a second time this changes nothing."""
    old, new = _known(old_id), _known(new_id)
    if old is None:
        return
    if new is None:
        old.wxsession_id = new_id
        return
    db.session.execute(update(Order).where(Order.user_id == old.id).values(user_id=new.id))
    db.session.execute(update(Visit).where(Visit.user_id == old.id).values(user_id=new.id))
    db.session.delete(old)


@signals.user_merged.connect
def on_merge(app: Flask, event: Event) -> None:
    """Deal with a merge before the device gets its response."""
    with app.app_context():
        _deal_with(event)
        db.session.commit()


@customers.cli.command("follow")
def follow() -> None:
    """Deal with what happened since the last time."""
    catch_up()


def catch_up() -> None:
    """Deal with what happened since the last time: at each start, and every minute by a timer."""
    while _deal_with_page():
        pass


def _deal_with_page() -> int:
    """Deal with a page of the feed, and keep the position in the same transaction."""
    position = db.session.get(Position, 1, with_for_update=True) or Position(id=1)
    page = wxsession.events(position.cursor)
    for event in page.events:
        _deal_with(event)
    position.cursor = page.next
    db.session.add(position)
    db.session.commit()
    return len(page.events)


def _deal_with(event: Event) -> None:
    if event.event == "user.merged" and event.user_id and event.new_user_id:
        merge(event.user_id, event.new_user_id)
