"""Orders of who is logged in."""

from flask import Blueprint, request
from sqlalchemy import select

from wxsession import current_session, session_required

from .extensions import db
from .models import Order, User, Visit

orders = Blueprint("orders", __name__, url_prefix="/orders")


@orders.get("")
@session_required
def of_mine() -> dict[str, object]:
    """Return the customer's orders."""
    found = select(Order.what).where(Order.user_id == _customer().id).order_by(Order.id)
    return {"orders": list(db.session.scalars(found))}


@orders.post("")
@session_required
def place() -> tuple[dict[str, object], int]:
    """Place an order."""
    customer = _customer()
    wanted = Order(user_id=customer.id, what=request.json["what"])
    db.session.add_all([wanted, Visit(user_id=customer.id)])
    db.session.commit()
    return of_mine(), 201


def _customer() -> User:
    """Return who is logged in, whom the first request creates."""
    known = select(User).where(User.wxsession_id == current_session.user_id)
    customer = db.session.scalar(known)
    if customer is None:
        customer = User(wxsession_id=current_session.user_id)
        db.session.add(customer)
        db.session.flush()
    return customer
