"""Sessions: issued, checked, refreshed, listed and ended.

Every method reads the session first, lets `Session` judge it, and then writes with the
judged facts repeated in the statement. A write that finds another row than the one it judged
changes nothing, and the session is read again. Nothing here ever inserts a session except
`issue`, so no race can bring an ended one back.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    and_,
    exists,
    select,
    update,
)

from wxsession.common.clock import Clock
from wxsession.common.current_request import note_session
from wxsession.errors import (
    Crossed,
    InvalidToken,
    Overloaded,
    ReauthenticationRequired,
    SessionEnded,
    SessionSuperseded,
    TokenError,
)
from wxsession.events.audit import SYSTEM, Audit
from wxsession.sessions.queries import (
    ALONE_BY_ID,
    BY_ID,
    ENDED_AT_ONCE,
    EVICT,
    INSERT,
    IS_FULL,
    NO_SESSION,
    ONE,
    SWAP_TOKEN,
    TOUCH,
    as_read,
    log_out,
    purge_date,
    replace_and_evict,
    select_sessions,
    select_some_live,
    session_from,
)
from wxsession.sessions.session import (
    Grant,
    NewSession,
    OwnSessions,
    Session,
    SessionView,
    Standing,
)
from wxsession.sessions.tokens import SessionToken, TokenSigner
from wxsession.settings import Settings
from wxsession.storage.database import (
    Database,
    new_id,
    read_by_index,
    retry_on_disconnect,
)
from wxsession.storage.tables import has_live_opener, identities, is_live, sessions, users
from wxsession.storage.transaction import Reply, Transaction
from wxsession.users.client import ClientInfo
from wxsession.users.phone_numbers import PhoneNumbers
from wxsession.users.user import Identity, User

Asking = Callable[[], ClientInfo]
"""Returns who asks; called only where the audit wants to know."""

_ATTEMPTS = 5
_LONGEST_LIST = 200
_RECENT = timedelta(minutes=10)
_LONGEST_WAY = 20
"""How many times the grace a request may have been on its way that presents an older token."""

_log = logging.getLogger(__name__)


class SessionService:
    """What can be done with sessions; a presented token is the string that a device sent."""

    def __init__(
        self,
        database: Database,
        signer: TokenSigner,
        *,
        phones: PhoneNumbers,
        audit: Audit,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._signer = signer
        self._phones = phones
        self._audit = audit
        self._settings = settings
        self._clock = clock
        hashes = 1 + len(settings.secret_keys)
        self._replace_and_evict = replace_and_evict(hashes)
        self._log_out_one = log_out(hashes)

    def check(
        self, presented: str, asking: Asking = lambda: SYSTEM, *, with_identity: bool = True
    ) -> SessionView:
        """Return the live session of a token, and count that as use.

        Without `with_identity` the view has no identity, whatever the session has.

        Costs one SELECT; an UPDATE at most once per touch interval, and one when a refreshed
        token is first used. A write that fails or comes late does not fail the check.

        Raises:
            TokenError: the token is not accepted; a malformed one has cost no query. An older one
                than the previous, twenty times the grace after the last refresh, is a copy: it
                ends the session (``token_reused``).
            Overloaded: the database did not answer in time.
        """
        token = self._signer.load(presented)
        now = self._clock()
        session, standing, _ = self._find(token, now, with_identity=with_identity)
        note_session(session.user.id, session.id)
        session.ensure_live(now)
        if standing is Standing.OLDER:
            # A device that refreshes has the token before; a check may have been sent long ago.
            self._refuse_older(session, asking(), now, ways=_LONGEST_WAY)
            raise SessionSuperseded
        latest = self._latest_end(session, now)
        expires_at = min(self._touch(session, standing, now), latest)
        return _view(session, now, expires_at, superseded=standing is Standing.PREVIOUS)

    def look_up(self, session_id: UUID, *, with_identity: bool = False) -> SessionView | None:
        """Return a session if it is live; this does not count as use.

        Raises:
            Overloaded: the database did not answer in time.
        """
        now = self._clock()
        query = BY_ID if with_identity else ALONE_BY_ID
        rows = self._database.read(query, {"session_id": session_id})
        if not rows:
            return None
        session = session_from(rows[0], self._phones)
        try:
            session.ensure_live(now)
            latest = self._latest_end(session, now)
        except TokenError:
            return None
        return _view(session, now, min(session.expires_at(), latest))

    def identity_of(self, view: SessionView) -> Identity | None:
        """Return the WeChat user who logged in to a session, None for a login by password.

        Raises:
            Overloaded: the database did not answer in time.
        """
        rows = self._database.read(BY_ID, {"session_id": view.session_id})
        return session_from(rows[0], self._phones).identity if rows else None

    def refresh(self, presented: str, client: ClientInfo) -> Grant:
        """Return the next token of a session; asked again with the same one, the same again.

        Raises:
            TokenError: as for `check`. An older token than the previous one, later than the
                grace after the last refresh, is a copy: it ends the session (``token_reused``).
            Overloaded: the database did not answer in time.
        """
        token = self._signer.load(presented)
        return retry_on_disconnect(lambda: self._refresh(token, client))

    def _refresh(self, token: SessionToken, client: ClientInfo) -> Grant:
        for _ in range(_ATTEMPTS):
            now = self._clock()
            successor = self._signer.successors(token)[0]
            swapped = self._database.run(SWAP_TOKEN, self._swap(token, successor, now))
            if swapped:  # most refreshes need this single statement
                return self._grant_of(session_from(swapped[0], self._phones), successor, now)
            session, standing, next_ = self._find(token, now)
            session.ensure_live(now)
            if next_:
                return self._grant_of(session, next_, now)
            if standing is Standing.OLDER:
                self._refuse_older(session, client, now, ways=1)
        raise Overloaded  # five others were faster, each within this one's single round trip

    def end(self, presented: str, client: ClientInfo, *, everywhere: bool = False) -> None:
        """End the session of a token, or every session of its user.

        Says nothing about a token that is unknown, forged or of a dead session. An older token
        of a session may end it too: ending is the one thing that is safe in anybody's hands
        that ever held it. For `everywhere` the token has to be a live one.

        Raises:
            Overloaded: the database did not answer in time.
        """
        try:
            token = self._signer.load(presented)
            retry_on_disconnect(lambda: self._log_out(token, client, everywhere=everywhere))
        except TokenError:
            return

    def list_own(self, presented: str) -> OwnSessions:
        """Return the live sessions of the token's user, newest first.

        Raises:
            TokenError: as for `check`.
            Overloaded: the database did not answer in time.
        """
        own = self.check(presented)
        now = self._clock()
        query = (
            select_sessions()
            .where(sessions.c.user_id == own.user.id, is_live(now), has_live_opener(now))
            .order_by(sessions.c.id.desc())
            .limit(_LONGEST_LIST + 1)
        )
        with self._database.statement() as connection:
            found = [session_from(row, self._phones) for row in connection.execute(query)]
        expiries = {session.id: session.expires_at() for session in found}
        shown = []
        for session in found[:_LONGEST_LIST]:
            expires_at = expiries[session.id]
            if session.opened_by is not None:
                expires_at = min(expires_at, expiries.get(session.opened_by, expires_at))
            shown.append(_view(session, now, expires_at, current=session.id == own.session_id))
        return OwnSessions(shown, more=len(found) > _LONGEST_LIST)

    def end_own(self, presented: str, session_id: UUID, client: ClientInfo) -> None:
        """End one session of the token's own user; says nothing about any other.

        Raises:
            TokenError: as for `check`.
            Overloaded: the database did not answer in time.
        """
        own = self.check(presented)
        which = and_(sessions.c.id == session_id, sessions.c.user_id == own.user.id)
        with self._database.transaction() as connection:
            self.end_rows(connection, which, "revoked", user_id=own.user.id, client=client)

    def send_is_full(self, transaction: Transaction, appid: str, openid: str) -> Reply:
        """Ask whether a new session of this WeChat user's user would exceed the cap.

        It has a row if so. The user's row is locked by then.
        """
        kept = self._settings.max_sessions - 1
        values = {"appid": appid, "openid": openid, "now": self._clock(), "kept": kept}
        return transaction.send(IS_FULL, values)

    def issue(self, connection: Transaction, new: NewSession) -> Grant:
        """Return the grant of a new session, inside the caller's transaction.

        The caller holds a lock on the user's row: that is what keeps the cap under parallel
        logins.
        """
        now, user, identity, client = self._clock(), new.user, new.identity, new.client
        ended = None
        if not new.new_user and (new.replacing is not None or not new.has_room):
            ended = self._make_room(connection, user.id, new.replacing, now)
        token = self._signer.draw(new_id())
        absolute = now + self._settings.absolute_timeout
        if new.opener is not None:
            absolute = min(absolute, new.opener.absolute_expires_at)
        idle = min(now + self._settings.idle_timeout, absolute)
        row = {
            "id": token.session_id,
            "user_id": user.id,
            "identity_id": identity.id if identity else None,
            "token_hash": token.hash,
            "created_at": now,
            "auth_time": new.auth_time or now,
            "absolute_expires_at": absolute,
            "idle_expires_at": idle,
            "purge_on": purge_date(idle),
            "client_address": client.address,
            "user_agent": client.user_agent,
            "opened_by": new.opener and (new.opener.opened_by or new.opener.id),
        }
        connection.send(INSERT, row)
        appid = identity.appid if identity else None
        note_session(user.id, token.session_id, appid)
        if new.new_user:
            self._audit.write(connection, "user.created", client, user_id=user.id, appid=appid)
        self._audit.write(
            connection,
            "session.created",
            client,
            user_id=user.id,
            session_id=token.session_id,
            appid=appid,
            reason="web_view" if new.opener else None,
        )
        if ended is not None:
            self._audit.write_ends(connection, ended.rows, client, user_id=user.id)
        expires_in = _whole_seconds(idle, now)
        return self._grant(token, user, expires_in, absolute, new_user=new.new_user)

    def open_another(self, connection: Transaction, opener_id: UUID, client: ClientInfo) -> Grant:
        """Return the grant of a session that another one opens in a web-view.

        It is live no longer than the one that opens it, and replaces the one that this had opened
        before; so it does not count for the cap. In the caller's transaction.

        Raises:
            TokenError: the session that opens it is not live.
        """
        opener = self.hold(connection, opener_id)
        root, user = opener.opened_by or opener.id, opener.user
        which = and_(sessions.c.user_id == user.id, sessions.c.opened_by == root)
        self.end_rows(connection, which, "replaced", user_id=user.id, client=client)
        new = NewSession(
            user,
            opener.identity,
            client,
            has_room=True,
            auth_time=opener.auth_time,
            opener=opener,
        )
        return self.issue(connection, new)

    def renew(self, connection: Transaction, session: Session, presented: str, user: User) -> Grant:
        """Return the session's next token and its `user`, inside the caller's transaction.

        For a session that is worth more from now on: a copy of the token before must not be. That
        one is taken for the grace alone, by which a device that lost this answer finds the next
        one. The session is locked.

        Raises:
            SessionSuperseded: the presented token is an older one by now.
        """
        now, token = self._clock(), self._signer.load(presented)
        standing, next_ = self._standing(session, token, now)
        if standing is Standing.OLDER:
            raise SessionSuperseded
        if next_ is None:
            next_ = self._signer.successors(token)[0]
            swapped = connection.run(SWAP_TOKEN, self._swap(token, next_, now))
            if not swapped:
                raise Crossed
            session = session_from(swapped[0], self._phones)
        grant = self._grant_of(session, next_, now)
        if standing is Standing.CURRENT or session.confirmed_at is None:
            it = update(sessions).where(sessions.c.id == session.id)
            connection.execute(it.values(rotated_at=now, confirmed_at=now))
        return replace(grant, user=user)

    def ensure_recent(self, view: SessionView, *, within: timedelta = _RECENT) -> None:
        """Return if the login of a session is no longer ago than this, by default ten minutes.

        Raises:
            ReauthenticationRequired: it is.
        """
        if self._clock() - view.auth_time > within:
            raise ReauthenticationRequired

    def are_enough(self, connection: Transaction, user_id: UUID, since: datetime) -> bool:
        """Return whether a user has got as many sessions since then as may be live at once.

        That are two at least: a client that lost the answer to its login asks once more.
        """
        made = select(sessions.c.id).where(
            sessions.c.user_id == user_id, sessions.c.created_at >= since
        )
        most = max(2, self._settings.max_sessions)
        return len(connection.execute(made.limit(most)).all()) >= most

    def reload(self, connection: Transaction, session_id: UUID, *, lock: bool = False) -> Session:
        """Return a session as it is now, and stays if locked, inside the caller's transaction.

        Raises:
            TokenError: it has ended since it was read.
        """
        query = ONE.with_for_update(of=sessions) if lock else ONE
        row = connection.execute(query, {"session_id": session_id}).first()
        if row is None:
            raise InvalidToken
        session, now = session_from(row, self._phones), self._clock()
        session.ensure_live(now)
        if session.opened_by is not None:
            opener = connection.execute(ONE, {"session_id": session.opened_by}).first()
            self._ensure_opener_live(opener, now)
        return session

    def hold(self, connection: Transaction, session_id: UUID) -> Session:
        """Return a session as it is now; it and its user stay, inside the caller's transaction.

        Raises:
            TokenError: it has ended.
            Crossed: it moved to another user just now.
        """
        # The user's row before sessions, as everywhere; and the session is read again after that,
        # because a merge may have moved it, or a deletion ended it, while this waited.
        user_id = self.reload(connection, session_id).user.id
        its_user = select(users.c.id).where(users.c.id == user_id)
        connection.execute(its_user.with_for_update())
        session = self.reload(connection, session_id, lock=True)
        if session.user.id != user_id:
            raise Crossed
        return session

    def end_rows(
        self,
        connection: Transaction,
        which: ColumnElement[bool],
        reason: str,
        *,
        user_id: UUID,
        client: ClientInfo,
        actor: str | None = None,
    ) -> int:
        """End the live sessions that the condition picks, and no others; return how many.

        They are sessions of one user. The audit knows of it, in the caller's transaction.
        """
        ended = self._end(connection, which, reason, self._clock())
        with_reason = [(id_, reason) for id_ in ended]
        self._audit.write_ends(connection, with_reason, client, user_id=user_id, actor=actor)
        return len(ended)

    def end_every(
        self,
        user_id: UUID,
        reason: str,
        *,
        client: ClientInfo,
        actor: str | None = None,
        but: UUID | None = None,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> int:
        """End every live session of a user, never `but`; return how many.

        In bounded transactions; after each, `progress` is told how many are ended so far.

        Raises:
            Overloaded: the database did not answer in time; run it again for the rest.
        """
        done = 0
        while ids := self._some_live(user_id, but):
            for first in range(0, len(ids), ENDED_AT_ONCE):
                some = ids[first : first + ENDED_AT_ONCE]
                done += self._end_some(some, reason, user_id=user_id, client=client, actor=actor)
                progress(done)
        return done

    def end_next(
        self,
        after: UUID,
        last: UUID,
        reason: str,
        *,
        appid: str | None,
        actor: str | None,
        limit: int,
    ) -> tuple[int, UUID]:
        """End the live ones among the next sessions by id, whoever's they are, up to `last`.

        With an appid only those of WeChat users of that app. Returns how many, and the id to
        continue after, which is `last` when all are done.
        """
        now, c = self._clock(), sessions.c
        with self._database.transaction() as connection:
            next_ = select(c.id).where(c.id > after, c.id <= last).order_by(c.id).limit(limit)
            ids = connection.execute(next_).scalars().all()
            if not ids:
                return 0, last
            here = and_(c.id > after, c.id <= ids[-1], is_live(now))
            if appid is not None:
                of_app = exists().where(
                    identities.c.id == c.identity_id, identities.c.appid == appid
                )
                here = and_(here, of_app.correlate(sessions))
            # Locked in one order, because somebody may end the same ones at the same time.
            locked = select(c.id).where(here).order_by(c.id).with_for_update(of=sessions)
            ending = update(sessions).where(c.id.in_(locked), is_live(now))
            values = {"ended_at": now, "end_reason": reason, "purge_on": now.date()}
            ended = connection.execute(ending.values(values).returning(c.user_id, c.id)).all()
            by_user: dict[UUID, list[tuple[UUID, str]]] = {}
            for row in ended:
                by_user.setdefault(row.user_id, []).append((row.id, reason))
            for user_id, its in by_user.items():
                self._audit.write_ends(connection, its, SYSTEM, user_id=user_id, actor=actor)
        return len(ended), ids[-1]

    def end_surplus(self, connection: Transaction, user_id: UUID, client: ClientInfo) -> None:
        """End what is above the cap; the caller holds a lock on the user's row."""
        ended = self._make_room(connection, user_id, None, self._clock(), wanted=0)
        self._audit.write_ends(connection, ended.rows, client, user_id=user_id)

    def _some_live(self, user_id: UUID, but: UUID | None) -> Sequence[UUID]:
        query = select_some_live(user_id, self._clock(), but=but)
        with self._database.transaction() as connection:
            read_by_index(connection)
            return connection.execute(query).scalars().all()

    def _end_some(
        self,
        ids: Sequence[UUID],
        reason: str,
        *,
        user_id: UUID,
        client: ClientInfo,
        actor: str | None = None,
    ) -> int:
        """End those of these sessions that are live and the user's; return how many."""
        c = sessions.c
        # Locked in one order, and looked at before: a merge may have moved some. The user is no
        # condition, by which PostgreSQL would read all sessions of the user each time.
        locking = select(c.id, c.user_id).where(c.id.in_(ids)).order_by(c.id).with_for_update()
        with self._database.transaction() as connection:
            its = [row.id for row in connection.execute(locking) if row.user_id == user_id]
            return self.end_rows(
                connection, c.id.in_(its), reason, user_id=user_id, client=client, actor=actor
            )

    def _log_out(self, token: SessionToken, client: ClientInfo, *, everywhere: bool) -> None:
        now = self._clock()
        if everywhere:
            session, standing, _ = self._find(token, now)
            session.ensure_live(now)
            self._latest_end(session, now)
            # The one that asks goes last: if this stops half way, it can ask again.
            if standing is not Standing.OLDER:
                self.end_every(session.user.id, "logout", client=client, but=session.id)
        its = self._known_hashes(token) | {"now": now, "today": now.date()}
        with self._database.transaction() as transaction:
            for (user_id,) in transaction.run(self._log_out_one, its):
                ended = ((token.session_id, "logout"),)
                self._audit.write_ends(transaction, ended, client, user_id=user_id)

    def _known_hashes(self, token: SessionToken) -> dict[str, object]:
        """Return a session's id, and the hashes that it has if it has this token or the next."""
        known = (token, *self._signer.successors(token))
        hashes = {f"token_hash_{number}": one.hash for number, one in enumerate(known)}
        return {"session_id": token.session_id, **hashes}

    def _end(
        self, connection: Transaction, which: ColumnElement[bool], reason: str, now: datetime
    ) -> Sequence[UUID]:
        ending = update(sessions).where(which, is_live(now)).returning(sessions.c.id)
        values = {"ended_at": now, "end_reason": reason, "purge_on": now.date()}
        return connection.execute(ending.values(values)).scalars().all()

    def _find(
        self, token: SessionToken, now: datetime, *, with_identity: bool = False
    ) -> tuple[Session, Standing, SessionToken | None]:
        """Return the session that the token names, and what `_standing` says about the token."""
        query = BY_ID if with_identity else ALONE_BY_ID
        rows = self._database.read(query, {"session_id": token.session_id})
        session = session_from(rows[0] if rows else NO_SESSION, self._phones)
        return session, *self._standing(session, token, now)

    def _standing(
        self, session: Session, token: SessionToken, now: datetime
    ) -> tuple[Standing, SessionToken | None]:
        """Return what `Session.standing` does, for a token that is not foreign.

        Raises:
            InvalidToken: it is.
        """
        standing, next_ = session.standing(
            token, self._signer.successors, now=now, grace=self._settings.refresh_grace
        )
        if standing is Standing.FOREIGN:
            raise InvalidToken
        return standing, next_

    def _latest_end(self, session: Session, now: datetime) -> datetime:
        """Return when a live session ends at the latest: in a web-view, with its opener.

        Raises:
            TokenError: the opener is not live, and so the one in the web-view is not either.
        """
        if session.opened_by is None:
            return session.absolute_expires_at
        rows = self._database.read(ALONE_BY_ID, {"session_id": session.opened_by})
        return self._ensure_opener_live(rows[0] if rows else None, now).expires_at()

    def _ensure_opener_live(self, row: Sequence[Any] | None, now: datetime) -> Session:
        if row is None:
            raise SessionEnded("revoked")
        opener = session_from(row, self._phones)
        opener.ensure_live(now)
        return opener

    def _touch(self, session: Session, standing: Standing, now: datetime) -> datetime:
        """Note that the session was used, if that is due; return when it expires now."""
        idle = min(now + self._settings.idle_timeout, session.absolute_expires_at)
        gain = idle - session.idle_expires_at
        is_due = gain >= self._settings.touch_interval and gain > timedelta(0)
        is_first = bool(
            standing is Standing.CURRENT and session.rotated_at and not session.confirmed_at
        )
        if not (is_due or is_first):
            return session.expires_at()
        if not is_due:
            idle = session.idle_expires_at
        changes = {
            "session_id": session.id,
            "its_token_hash": session.token_hash,
            "its_idle_expires_at": session.idle_expires_at,
            "now": now,
            "new_idle_expires_at": idle,
            "new_purge_on": purge_date(idle),
            "new_confirmed_at": now if is_first else session.confirmed_at,
        }
        try:
            self._database.run(TOUCH, changes)
        except Overloaded:
            return session.expires_at()
        return idle if is_due else session.expires_at()

    def _swap(
        self, token: SessionToken, successor: SessionToken, now: datetime
    ) -> dict[str, object]:
        """Return the values that swap a token for its successor, if the session still has it."""
        idle = now + self._settings.idle_timeout
        return {
            "session_id": token.session_id,
            "its_token_hash": token.hash,
            "next_hash": successor.hash,
            "now": now,
            "new_idle_expires_at": idle,
            "new_purge_on": purge_date(idle),
        }

    def _grant_of(self, session: Session, token: SessionToken, now: datetime) -> Grant:
        """Return the grant of a session with this token, the one in use.

        Raises:
            TokenError: it is that of a web-view, and the session that opened it is not live.
        """
        note_session(session.user.id, session.id)
        expires_at = min(session.expires_at(), self._latest_end(session, now))
        expires_in = _whole_seconds(expires_at, now)
        return self._grant(token, session.user, expires_in, session.absolute_expires_at)

    def _refuse_older(
        self, session: Session, client: ClientInfo, now: datetime, *, ways: int
    ) -> None:
        """Refuse an older token; end the session if that is a copy, unless it has changed.

        It is one if the session went on to its next token longer ago than `ways` times the grace.

        Raises:
            SessionSuperseded: it may be the device's own request, overtaken by two refreshes.
            SessionEnded: it is a copy in other hands, and ended the session just now.
        """
        if session.was_handed_on_within(ways * self._settings.refresh_grace, now):
            raise SessionSuperseded
        with self._database.transaction() as connection:
            which, reason = as_read(session, now), "token_reused"
            ended = self.end_rows(connection, which, reason, user_id=session.user.id, client=client)
        if ended:
            _log.warning("session %s ended: an old token was presented again", session.id)
            raise SessionEnded("token_reused")

    def _make_room(
        self,
        connection: Transaction,
        user_id: UUID,
        replacing: str | None,
        now: datetime,
        *,
        wanted: int = 1,
    ) -> Reply:
        """End the session that the new one replaces, and what is above the cap with the new one.

        The reply says what was ended, and why.
        """
        evict = EVICT
        room: dict[str, object] = {
            "its_user_id": user_id,
            "kept": self._settings.max_sessions - wanted,
            "now": now,
            "today": now.date(),
        }
        if token := self._replaced(replacing):
            evict = self._replace_and_evict
            room |= self._known_hashes(token)
        return connection.send(evict, room)

    def _replaced(self, presented: str | None) -> SessionToken | None:
        try:
            return self._signer.load(presented) if presented else None
        except InvalidToken:
            return None

    def _grant(
        self,
        token: SessionToken,
        user: User,
        expires_in: int,
        absolute_expires_at: datetime,
        *,
        new_user: bool = False,
    ) -> Grant:
        return Grant(
            session_token=self._signer.dump(token),
            session_id=token.session_id,
            expires_in=expires_in,
            absolute_expires_at=absolute_expires_at,
            user=user,
            new_user=new_user,
        )


def _view(
    session: Session,
    now: datetime,
    expires_at: datetime,
    *,
    superseded: bool = False,
    current: bool = False,
) -> SessionView:
    return SessionView(
        session_id=session.id,
        user=session.user,
        identity=session.identity,
        created_at=session.created_at,
        auth_time=session.auth_time,
        expires_in=_whole_seconds(expires_at, now),
        absolute_expires_at=session.absolute_expires_at,
        client=session.client,
        opened_by=session.opened_by,
        superseded=superseded,
        current=current,
    )


def _whole_seconds(until: datetime, now: datetime) -> int:
    return max(0, int((until - now).total_seconds()))
