"""Fill the table of the application; print a header a line."""

import sys

from flask import session
from flask.sessions import SecureCookieSessionInterface
from flask_login import login_user
from sqlalchemy import text

from benchmarks.peers.flask_login_sqlalchemy.app import User, app, db
from benchmarks.peers.spread import spread

sessions, presented = map(int, sys.argv[1:])
serializer = SecureCookieSessionInterface().get_signing_serializer(app)
assert serializer is not None
with app.app_context():
    db.create_all()
    db.session.execute(
        text("INSERT INTO users (name) SELECT 'user ' || i FROM generate_series(1, :n) AS i"),
        {"n": sessions},
    )
    db.session.commit()
for user_id in spread(sessions, presented):
    # The address is part of the session, and a client without User-Agent.
    with app.test_request_context(
        environ_base={"REMOTE_ADDR": "127.0.0.1"}, environ_overrides={"HTTP_USER_AGENT": None}
    ):
        login_user(User(id=user_id))
        print(f"Cookie: session={serializer.dumps(dict(session))}")
