"""News of one's orders, by a WebSocket."""

from flask import Blueprint, request
from simple_websocket import Server
from sqlalchemy import func, select

from wxsession import WxSessionError

from .extensions import db, sock, wxsession
from .models import Order

live = Blueprint("live", __name__)

POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013


@sock.route("/live", bp=live)
def orders_so_far(socket: Server) -> None:
    """Answer each message with the number of orders, as long as the session lives."""
    presented = request.authorization
    try:
        session = wxsession.check((presented and presented.token) or "")
        customer_id = session.user.id
        while True:
            ordered = select(func.count()).where(Order.user_id == customer_id)
            socket.send(str(db.session.scalar(ordered)))
            db.session.commit()  # a socket stays open for hours, its transaction must not
            socket.receive()
            if wxsession.session(session.session_id) is None:
                socket.close(POLICY_VIOLATION, "the session is over")
                return
    except WxSessionError as error:
        socket.close(TRY_AGAIN_LATER if error.retryable else POLICY_VIOLATION, str(error))
