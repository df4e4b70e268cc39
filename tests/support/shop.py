"""A developer's own Flask application with our sessions in it: `gunicorn tests.support.shop:app`.

Its settings are those of the environment. One process serves it, because it counts in memory.
"""

from collections import Counter
from threading import Lock

from flask import Flask

from wxsession import WxSession, current_session, session_required

app = Flask("shop", static_folder=None)
app.config["WXSESSION_URL_PREFIX"] = "/"  # where it is in the service
WxSession(app)

_placed: Counter[str] = Counter()
_lock = Lock()


@app.get("/orders")
@session_required
def orders() -> dict[str, object]:
    """Tell who asks, and how many orders were placed."""
    user = str(current_session.user_id)
    return {"orders_of": user, "placed": _placed[user]}


@app.post("/orders")
@session_required
def place_order() -> dict[str, object]:
    """Place one order, each time that this runs."""
    user = str(current_session.user_id)
    with _lock:
        _placed[user] += 1
        return {"orders_of": user, "placed": _placed[user]}


@app.get("/broken")
@session_required
def broken() -> tuple[dict[str, str], int]:
    """Fail, as a shop may, with nothing wrong about the session."""
    return {"error": "the shop is closed"}, 500
