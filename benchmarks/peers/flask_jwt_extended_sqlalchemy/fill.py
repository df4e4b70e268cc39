"""Fill the blocklist with the tokens of others; print a header with a refresh token a line."""

import sys

from flask_jwt_extended import create_refresh_token
from sqlalchemy import text

from benchmarks.peers.flask_jwt_extended_sqlalchemy.app import app, db
from benchmarks.peers.spread import spread

sessions, presented = map(int, sys.argv[1:])
with app.app_context():
    db.create_all()
    db.session.execute(
        text(
            "INSERT INTO token_blocklist (jti, created_at)"
            " SELECT gen_random_uuid()\\:\\:text, now() FROM generate_series(1, :n)"
        ),
        {"n": sessions},
    )
    db.session.commit()
    for user_id in spread(sessions, presented):
        print(f"Authorization: Bearer {create_refresh_token(identity=str(user_id))}")
