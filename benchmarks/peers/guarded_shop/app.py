"""A small host application, as our README has it: a view behind `session_required`."""

import os

from flask import Flask

from wxsession import WxSession, current_session, session_required

app = Flask(__name__, static_folder=None)
app.config.from_mapping(
    {name: value for name, value in os.environ.items() if name.startswith("WXSESSION_")}
)
WxSession(app)


@app.get("/check")
@session_required
def check() -> dict[str, object]:
    return {"active": True, "user": {"id": str(current_session.user_id)}}
