"""Administration: an operator disables and enables users, and ends sessions.

Every change is written to the audit, in the transaction that makes it.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, update

from wxsession.common.clock import Clock, Timing
from wxsession.errors import InvalidRequest, NoSuchSession, NoSuchUser
from wxsession.events.audit import SYSTEM, UNKNOWN, Audit
from wxsession.operations.batching import BatchSize
from wxsession.sessions.service import SessionService
from wxsession.storage import tables as t
from wxsession.storage.database import Database
from wxsession.storage.sqlite_busy import MAX_BUSY_PAUSE
from wxsession.users.client import ClientInfo
from wxsession.users.merging import ensure_known
from wxsession.users.user import select_former_ids


class _Who(NamedTuple):
    actor: str
    client: ClientInfo


_ENDED_AT_ONCE = 500  # each with an event, if each is another user's


class Administration:
    """What an operator may do to users and sessions.

    `actor` is the operator's name, or that of the back end that asks, and `client` is from where.
    """

    def __init__(
        self,
        database: Database,
        *,
        sessions: SessionService,
        audit: Audit,
        clock: Clock,
        timing: Timing = time,
    ) -> None:
        self._database = database
        self._timing = timing
        self._sessions = sessions
        self._audit = audit
        self._clock = clock

    def disable(
        self,
        user_id: UUID,
        *,
        actor: str = UNKNOWN,
        client: ClientInfo = SYSTEM,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> int:
        """Disable a user and end every live session; return how many were ended.

        After the first statement the user can neither log in nor use a session. Ending the
        sessions may take many transactions; if it is stopped half way, run it again.

        Raises:
            NoSuchUser: no user has this id.
            Overloaded: the database did not answer in time.
        """
        who = _Who(actor, client)
        self._switch(user_id, "user.disabled", who, disabled_at=self._clock())
        return self._sessions.end_every(
            user_id, "user_disabled", client=client, actor=actor, progress=progress
        )

    def enable(self, user_id: UUID, *, actor: str = UNKNOWN, client: ClientInfo = SYSTEM) -> None:
        """Let a disabled user log in again; the ended sessions stay ended.

        Raises:
            NoSuchUser: no user has this id.
            Overloaded: the database did not answer in time.
        """
        self._switch(user_id, "user.enabled", _Who(actor, client), disabled_at=None)

    def end_sessions(
        self,
        user_id: UUID,
        *,
        actor: str = UNKNOWN,
        client: ClientInfo = SYSTEM,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> int:
        """End every live session of a user; return how many. Can be stopped and run again.

        Raises:
            NoSuchUser: no user has this id.
            Overloaded: the database did not answer in time.
        """
        with self._database.statement() as connection:
            ensure_known(connection, user_id)
        return self._sessions.end_every(
            user_id, "revoked", client=client, actor=actor, progress=progress
        )

    def end_all_sessions(
        self,
        appid: str | None = None,
        *,
        actor: str = UNKNOWN,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> int:
        """End every live session, or every one of an app's WeChat users; return how many.

        Those that begin meanwhile stay. Goes in bounded transactions, with a pause after each; if
        it is stopped half way, run it again.

        Raises:
            InvalidRequest: nobody has ever logged in from this app.
            Overloaded: the database did not answer in time.
        """
        c = t.identities.c
        with self._database.statement() as connection:
            if appid is not None:
                known = select(c.id).where(c.provider == t.WECHAT, c.appid == appid).limit(1)
                if connection.execute(known).first() is None:
                    raise InvalidRequest.of("appid", "has no WeChat user here")
            newest = select(t.sessions.c.id).order_by(t.sessions.c.id.desc()).limit(1)
            last = connection.execute(newest).scalar()
        # On SQLite every other writer waits for a batch, and has to find the file free after it.
        pause = 0.0 if self._database.is_postgresql else MAX_BUSY_PAUSE
        size = BatchSize(_ENDED_AT_ONCE, shortest_pause=pause)
        done, after = 0, UUID(int=0)
        while last is not None and after != last:
            begun = self._timing.monotonic()
            ended, after = self._sessions.end_next(
                after, last, "revoked", appid=appid, actor=actor, limit=size.size
            )
            done += ended
            progress(done)
            self._timing.sleep(size.pause_after(self._timing.monotonic() - begun))
        return done

    def end_session(
        self,
        session_id: UUID,
        *,
        user_id: UUID | None = None,
        actor: str = UNKNOWN,
        client: ClientInfo = SYSTEM,
    ) -> bool:
        """End a session, of this user if one is named; return whether it was live.

        Raises:
            NoSuchUser: no user has this id.
            NoSuchSession: no session has this id, or it is another user's.
            Overloaded: the database did not answer in time.
        """
        with self._database.transaction() as connection:
            it = t.sessions.c.id == session_id
            owner_id = connection.execute(select(t.sessions.c.user_id).where(it)).scalar()
            if user_id is not None:
                ensure_known(connection, user_id)
                former = connection.execute(select_former_ids(user_id)).scalars()
                owner_id = owner_id if owner_id in {user_id, *former} else None
            if owner_id is None:
                raise NoSuchSession
            ended = self._sessions.end_rows(
                connection,
                it,
                "revoked",
                user_id=owner_id,
                client=client,
                actor=actor,
            )
        return ended == 1

    def _switch(
        self, user_id: UUID, event: str, who: _Who, *, disabled_at: datetime | None
    ) -> None:
        """Disable or enable a user; for one who is so already, nothing changes."""
        query = select(t.users.c.disabled_at).where(t.users.c.id == user_id).with_for_update()
        with self._database.transaction() as connection:
            row = connection.execute(query).first()
            ensure_known(connection, user_id)
            if row is None:
                raise NoSuchUser
            if (row.disabled_at is None) == (disabled_at is None):
                return
            switch = update(t.users).where(t.users.c.id == user_id)
            connection.execute(switch.values(disabled_at=disabled_at))
            self._audit.write(connection, event, who.client, user_id=user_id, actor=who.actor)
