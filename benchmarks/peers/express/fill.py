"""Fill the tables, the session's as the package ships it; print a header a line."""

import base64
import hmac
import json
import os
import secrets
import sys
from pathlib import Path
from urllib.parse import quote

import psycopg

from benchmarks.peers.spread import spread

TABLE = Path(__file__).with_name("node_modules") / "connect-pg-simple" / "table.sql"

sessions, presented = map(int, sys.argv[1:])
key = os.environ["SECRET_KEY"].encode()
cookie = {"originalMaxAge": 2592000000, "expires": "2099-01-01T00:00:00.000Z", "httpOnly": True}
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute(TABLE.read_bytes())
    connection.execute(
        "CREATE TABLE users (id serial PRIMARY KEY, name varchar(64), openid varchar(64) UNIQUE)"
    )
    connection.execute(
        """
        INSERT INTO users (name, openid)
        SELECT 'user ' || i, 'o' || lpad((i - 1)::text, 27, '0') FROM generate_series(1, %s) AS i
        """,
        [sessions],
    )
    connection.execute(
        """
        INSERT INTO session (sid, sess, expire)
        SELECT md5(i::text), json_build_object('cookie', %s::json, 'userId', i),
               now() + interval '30 days'
        FROM generate_series(1, %s) AS i
        """,
        [json.dumps({**cookie, "path": "/"}), sessions],
    )
    for user_id in spread(sessions, presented):
        sid = secrets.token_urlsafe(24)
        connection.execute("UPDATE session SET sid = %s WHERE sid = md5(%s)", [sid, str(user_id)])
        # As the package cookie-signature signs.
        mark = base64.b64encode(hmac.digest(key, sid.encode(), "sha256")).decode().rstrip("=")
        print(f"Cookie: connect.sid={quote(f's:{sid}.{mark}', safe='')}")
