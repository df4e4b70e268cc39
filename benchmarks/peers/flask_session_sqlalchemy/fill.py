"""Fill the tables of the application; print a header a line."""

import secrets
import sys

from flask_session.base import MsgSpecSerializer
from sqlalchemy import text

from benchmarks.peers.flask_session_sqlalchemy.app import app, db
from benchmarks.peers.spread import spread

sessions, presented = map(int, sys.argv[1:])
serializer = MsgSpecSerializer(app, "msgpack")
with app.app_context():
    db.create_all()
    db.session.execute(
        text("INSERT INTO users (name) SELECT 'user ' || i FROM generate_series(1, :n) AS i"),
        {"n": sessions},
    )
    # What the serializer writes for {"_permanent": True, "user_id": i}.
    db.session.execute(
        text("""
        INSERT INTO sessions (session_id, data, expiry)
        SELECT 'session:' || left(encode(sha256(i\\:\\:text\\:\\:bytea), 'hex'), 43),
               decode('82aa5f7065726d616e656e74c3a7757365725f6964ce', 'hex') || int4send(i),
               now() + interval '31 days'
        FROM generate_series(1, :n) AS i
        """),
        {"n": sessions},
    )
    for user_id in spread(sessions, presented):
        sid = secrets.token_urlsafe(32)
        db.session.execute(
            text("UPDATE sessions SET session_id = :sid, data = :data WHERE id = :id"),
            {
                "sid": f"session:{sid}",
                "data": serializer.encode({"_permanent": True, "user_id": user_id}),
                "id": user_id,
            },
        )
        print(f"Cookie: session={sid}")
    db.session.commit()
