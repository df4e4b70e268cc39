"""Fill Django's tables; print a header a line."""

import sys

from benchmarks.peers.django_auth import app as _configured  # noqa: F401
from benchmarks.peers.spread import spread

sessions, presented = map(int, sys.argv[1:])

# Django's models can be imported only behind its settings.
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402

call_command("migrate", verbosity=0)


def data_of(user: User) -> dict[str, str]:
    return {
        SESSION_KEY: str(user.pk),
        BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }


template = User(pk=1, password="!")
with transaction.atomic(), connection.cursor() as cursor:
    cursor.execute(
        """
        INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email,
                               is_staff, is_active, date_joined)
        SELECT '!', false, 'user ' || i, '', '', '', false, true, now()
        FROM generate_series(1, %s) AS i
        """,
        [sessions],
    )
    cursor.execute(
        """
        INSERT INTO django_session (session_key, session_data, expire_date)
        SELECT md5(i::text), %s, now() + interval '14 days' FROM generate_series(1, %s) AS i
        """,
        [SessionStore().encode(data_of(template)), sessions],
    )
    for user_id in spread(sessions, presented):
        store = SessionStore()
        key = store._get_new_session_key()
        cursor.execute(
            "UPDATE django_session SET session_key = %s, session_data = %s"
            " WHERE session_key = md5(%s)",
            [key, store.encode(data_of(User(pk=user_id, password="!"))), str(user_id)],
        )
        print(f"Cookie: sessionid={key}")
