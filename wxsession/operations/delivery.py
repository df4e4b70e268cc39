"""Delivery: every event to every webhook, in order for each user, whatever the receiver does.

A webhook has a cursor in the feed. An event that is refused waits in a row of its own, and so do
the later events of the same user; those of others go on. A receiver that fails several times in a
row is left alone for a while, longer and longer; when it is back, what waits goes first.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, NoReturn
from uuid import UUID

from sqlalchemy import and_, delete, exists, func, insert, literal, select, tuple_, update

from wxsession.common.clock import Clock
from wxsession.errors import DeliveryRunning, InvalidRequest, UnknownWebhook, WxSessionError
from wxsession.events.audit import SYSTEM, UNKNOWN, Audit
from wxsession.events.event import EVENT_COLUMNS, Event
from wxsession.events.feed import Feed, moment_of
from wxsession.events.webhooks import Sender
from wxsession.operations.job_lock import job_lock
from wxsession.settings import Webhook
from wxsession.storage.database import Database, upsert
from wxsession.storage.tables import audit_events, webhook_cursors, webhook_failures
from wxsession.storage.transaction import Transaction
from wxsession.users.client import ClientInfo

_RETRIES: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 30, 5 * 60, 30 * 60, 2 * 3600, 6 * 3600, 12 * 3600, 24 * 3600)
)
"""How long an event waits after each attempt; after the last one it is dead."""

_PAUSES: Final = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 60, 5 * 60))
"""How long a receiver is left alone that failed several times in a row; the last one again."""

_IN_A_ROW: Final = 3
_PAGE: Final = 100
_LONGEST_REASON: Final = 64
_REST: Final = 1.0
"""Seconds between two looks for something new."""

_log = logging.getLogger(__name__)


class Delivered(NamedTuple):
    """What a run did for a webhook: events taken and refused, and what is left for later."""

    sent: int
    failed: int
    waiting: int
    dead: int


class WebhookState(NamedTuple):
    """How a webhook stands, for an operator.

    `read_until` is the moment of the last event that was dealt with, None before the first look.
    `waiting` are those that were not sent yet, or not taken. Of these and of what is dead,
    `MOST_COUNTED` are counted at most.
    """

    name: str
    read_until: datetime | None
    failures: int
    """How often the receiver failed in a row."""
    paused_until: datetime | None
    waiting: int
    dead: int


class Undelivered(NamedTuple):
    """An event that a receiver did not take, or that waits for an earlier one of its user."""

    event_id: UUID
    at: datetime
    event: str
    user_id: UUID | None
    attempts: int
    reason: str | None
    next_at: datetime
    dead_at: datetime | None


class UndeliveredPage(NamedTuple):
    """Undelivered events, oldest first; `next` is the id to continue after, None at the end."""

    events: Sequence[Undelivered]
    next: UUID | None


MOST_COUNTED: Final = 1000


class _Waiting(NamedTuple):
    event: Event
    attempts: int


@dataclass
class _State:
    """How a webhook stands: its row in `webhook_cursors`."""

    cursor: str
    failures: int
    paused_until: datetime | None


class Delivery:
    """Delivers the feed to webhooks."""

    def __init__(
        self,
        database: Database,
        *,
        feed: Feed,
        webhooks: Mapping[str, Webhook],
        sender: Sender,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._database = database
        self._feed = feed
        self._webhooks = webhooks
        self._sender = sender
        self._audit = audit
        self._clock = clock

    @property
    def names(self) -> Sequence[str]:
        """The names of the webhooks."""
        return tuple(self._webhooks)

    def run(
        self,
        name: str,
        *,
        progress: Callable[[int], None] = lambda _done: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Delivered:
        """Deliver to a webhook all that is due; can be stopped at any time and run again.

        An event that was on its way then is sent again, with the same id.

        Raises:
            UnknownWebhook: no webhook has this name.
            DeliveryRunning: another process delivers to it.
            Overloaded: the database did not answer in time.
        """
        webhook = self._webhook(name)
        with job_lock(self._database, _lock_of(name), DeliveryRunning, sleep=sleep):
            state, sent, failed = self._state(name), 0, 0
            for event, attempts in self._due(name, state):
                if self._deliver(webhook, state, event, attempts):
                    sent += 1
                    progress(sent)
                else:
                    failed += 1
        return Delivered(sent, failed, *self._left(name))

    def run_all(
        self, names: Sequence[str], *, progress: Callable[[int], None] = lambda _done: None
    ) -> Mapping[str, Delivered]:
        """Deliver to webhooks as `run` does, to all at once: no receiver waits for a slow one.

        Raises:
            UnknownWebhook, DeliveryRunning, Overloaded: as `run`, after all others are done.
        """
        runs: dict[str, Future[Delivered]] = {self._webhook(name).name: Future() for name in names}
        for name, run in runs.items():
            # Not a pool: that would go on after Ctrl-C until everything is delivered.
            threading.Thread(target=self._run, args=(name, progress, run), daemon=True).start()
        wait(runs.values())
        return {name: run.result() for name, run in runs.items()}

    def _run(self, name: str, progress: Callable[[int], None], done: "Future[Delivered]") -> None:
        try:
            done.set_result(self.run(name, progress=progress))
        except BaseException as error:  # noqa: BLE001 - for whoever waits for it
            done.set_exception(error)

    def run_forever(self, names: Sequence[str]) -> NoReturn:
        """Deliver to webhooks, each in a thread of its own, until the process ends.

        Raises:
            UnknownWebhook: no webhook has one of the names.
        """
        for name in names:
            self._webhook(name)
        for name in names[1:]:
            threading.Thread(target=self._go_on, args=(name,), daemon=True).start()
        self._go_on(names[0])

    def _go_on(self, name: str) -> NoReturn:
        while True:
            try:
                self.run(name)
            except WxSessionError as error:
                _log.warning("webhook %s has to wait: %s", name, error.code)
            except Exception:  # noqa: BLE001 - it is tried again, and other webhooks go on
                _log.exception("webhook %s has to wait", name)
            time.sleep(_REST)

    def states(self) -> list[WebhookState]:
        """Return how each webhook stands.

        Raises:
            Overloaded: the database did not answer in time.
        """
        c = webhook_failures.c
        with self._database.statement() as connection:
            rows = {row.webhook: row for row in connection.execute(select(webhook_cursors))}

            def some(name: str, condition: Any) -> int:
                """Return how many there are, counting no further than is told."""
                of_it = select(c.event_id).where(c.webhook == name, condition)
                of_it = of_it.order_by(c.recorded_at, c.event_id).limit(MOST_COUNTED)
                counting = select(func.count()).select_from(of_it.subquery())
                return int(connection.execute(counting).scalar_one())

            states = [
                WebhookState(
                    name,
                    moment_of(row.cursor) if (row := rows.get(name)) else None,
                    row.failures if row else 0,
                    row.paused_until if row else None,
                    some(name, c.dead_at.is_(None)),
                    some(name, c.dead_at.is_not(None)),
                )
                for name in self._webhooks
            ]
        return [self._with_unsent(state, rows.get(state.name)) for state in states]

    def _with_unsent(self, state: WebhookState, row: Any) -> WebhookState:
        """Return a state in which the events wait as well that come after the cursor."""
        if row is None:
            return state  # it hears of what happens after the first look
        unsent = len(self._feed.read(row.cursor, limit=MOST_COUNTED).events)
        return state._replace(waiting=min(state.waiting + unsent, MOST_COUNTED))

    def undelivered(self, name: str, *, limit: int, after: UUID | None = None) -> UndeliveredPage:
        """Return what a webhook did not take, dead or waiting, oldest first.

        Raises:
            UnknownWebhook: no webhook has this name.
            InvalidRequest: nothing is known about `after` any more.
            Overloaded: the database did not answer in time.
        """
        self._webhook(name)
        c, e = webhook_failures.c, audit_events.c
        query = (
            select(
                *(c.event_id, e.at, e.event, c.user_id),
                *(c.attempts, c.reason, c.next_at, c.dead_at),
            )
            .join(audit_events, e.id == c.event_id)
            .where(c.webhook == name)
            .order_by(c.recorded_at, c.event_id)
            .limit(limit + 1)
        )
        with self._database.statement() as connection:
            if after is not None:
                its = select(c.recorded_at).where(_is_failure(name, after))
                recorded_at = connection.execute(its).scalar()
                if recorded_at is None:
                    raise InvalidRequest.of("after", "was delivered meanwhile, or purged")
                here = literal(recorded_at, c.recorded_at.type), literal(after, c.event_id.type)
                query = query.where(tuple_(c.recorded_at, c.event_id) > tuple_(*here))
            rows = [Undelivered._make(row) for row in connection.execute(query)]
        more = len(rows) > limit
        return UndeliveredPage(rows[:limit], rows[limit - 1].event_id if more else None)

    def replay(
        self,
        name: str,
        event_id: UUID | None = None,
        *,
        actor: str = UNKNOWN,
        client: ClientInfo = SYSTEM,
    ) -> int:
        """Let events that are dead for a webhook be delivered again; return how many.

        If there are any, that is an event by itself.

        Raises:
            UnknownWebhook: no webhook has this name.
            Overloaded: the database did not answer in time.
        """
        self._webhook(name)
        c = webhook_failures.c
        dead = and_(c.webhook == name, c.dead_at.is_not(None))
        if event_id is not None:
            dead &= c.event_id == event_id
        revive = update(webhook_failures).where(dead)
        revived = revive.values(dead_at=None, attempts=0, next_at=self._clock())
        with self._database.transaction() as transaction:
            count = transaction.execute(revived).rowcount
            if count:
                self._audit.write(
                    transaction, "events.replayed", client, reason=name, actor=actor, count=count
                )
        return count

    def _webhook(self, name: str) -> Webhook:
        if name not in self._webhooks:
            raise UnknownWebhook(self.names)
        return self._webhooks[name]

    def _due(self, name: str, state: _State) -> Iterator[_Waiting]:
        """Yield what waited long enough, and then what is new, until the receiver is left alone."""
        while self._may_go_on(state):
            if waiting := self._heads(name):  # at each page: to read the feed may take days
                for one in waiting:
                    if self._may_go_on(state):
                        yield one
                continue
            page = self._feed.read(state.cursor, limit=_PAGE)
            if not page.events:
                return
            for event, cursor in zip(page.events, page.cursors, strict=True):
                if not self._may_go_on(state):
                    return
                state.cursor = cursor
                if self._is_behind(name, event):
                    self._let_wait(name, state, event)
                else:
                    yield _Waiting(event, 0)

    def _may_go_on(self, state: _State) -> bool:
        return state.paused_until is None or state.paused_until <= self._clock()

    def _heads(self, name: str) -> list[_Waiting]:
        """Return the events that wait and are due: of each user the oldest alone."""
        c, earlier = webhook_failures.c, webhook_failures.alias()
        behind = exists().where(
            earlier.c.webhook == name,
            earlier.c.user_id == c.user_id,
            earlier.c.dead_at.is_(None),
            (earlier.c.recorded_at < c.recorded_at)
            | ((earlier.c.recorded_at == c.recorded_at) & (earlier.c.event_id < c.event_id)),
        )
        query = (
            select(*EVENT_COLUMNS, c.attempts)
            .join(audit_events, audit_events.c.id == c.event_id)
            .where(c.webhook == name, c.dead_at.is_(None), c.next_at <= self._clock(), ~behind)
            .order_by(c.recorded_at, c.event_id)
            .limit(_PAGE)
        )
        with self._database.statement() as connection:
            return [_Waiting(Event(*row[:-1]), row[-1]) for row in connection.execute(query)]

    def _is_behind(self, name: str, event: Event) -> bool:
        if event.user_id is None:
            return False
        c = webhook_failures.c
        earlier = select(c.event_id).where(
            c.webhook == name, c.user_id == event.user_id, c.dead_at.is_(None)
        )
        with self._database.statement() as connection:
            return connection.execute(earlier.limit(1)).first() is not None

    def _let_wait(self, name: str, state: _State, event: Event) -> None:
        with self._database.transaction() as transaction:
            self._remember(transaction, name, event, attempts=0, reason=None)
            self._save(transaction, name, state)

    def _deliver(self, webhook: Webhook, state: _State, event: Event, attempts: int) -> bool:
        """Send an event, and write what became of it together with the cursor."""
        reason = self._sender.send(webhook, event, self._clock())
        with self._database.transaction() as transaction:
            if reason is None:
                its = _is_failure(webhook.name, event.id)
                transaction.execute(delete(webhook_failures).where(its))
                if state.failures >= _IN_A_ROW:
                    self._wake(transaction, webhook.name)
                state.failures, state.paused_until = 0, None
            else:
                self._remember(
                    transaction, webhook.name, event, attempts=attempts + 1, reason=reason
                )
                _log.warning("webhook %s did not take event %s: %s", webhook.name, event.id, reason)
                state.failures += 1
                if state.failures >= _IN_A_ROW:
                    pause = _PAUSES[min(state.failures - _IN_A_ROW, len(_PAUSES) - 1)]
                    state.paused_until = self._clock() + pause
            self._save(transaction, webhook.name, state)
        return reason is None

    def _remember(
        self,
        transaction: Transaction,
        name: str,
        event: Event,
        *,
        attempts: int,
        reason: str | None,
    ) -> None:
        """Keep an event that was refused, or that waits for another one of its user."""
        now = self._clock()
        is_dead = attempts > len(_RETRIES)
        values: dict[str, Any] = {
            "attempts": attempts,
            "reason": reason[:_LONGEST_REASON] if reason else None,
            "next_at": now if is_dead or not attempts else now + _RETRIES[attempts - 1],
            "dead_at": now if is_dead else None,
        }
        its = audit_events.c.id == event.id
        recorded_at = select(audit_events.c.recorded_at).where(its).scalar_subquery()
        row = {"webhook": name, "event_id": event.id, "user_id": event.user_id, **values}
        keeping = upsert(transaction, webhook_failures).values(recorded_at=recorded_at, **row)
        transaction.execute(
            keeping.on_conflict_do_update(index_elements=["webhook", "event_id"], set_=values)
        )

    def _wake(self, transaction: Transaction, name: str) -> None:
        """Let everything that waits be due: the receiver is back."""
        c = webhook_failures.c
        waiting = update(webhook_failures).where(c.webhook == name, c.dead_at.is_(None))
        transaction.execute(waiting.values(next_at=self._clock()))

    def _state(self, name: str) -> _State:
        c = webhook_cursors.c
        query = select(c.cursor, c.failures, c.paused_until).where(c.webhook == name)
        with self._database.statement() as connection:
            found = connection.execute(query).first()
        if found is not None:
            return _State(*found)
        state = _State(self._feed.end(), 0, None)  # it hears of what happens from now on
        row = {"webhook": name, "cursor": state.cursor, "failures": 0}
        with self._database.transaction() as transaction:
            transaction.execute(insert(webhook_cursors).values(row))
        return state

    def _save(self, transaction: Transaction, name: str, state: _State) -> None:
        mine = update(webhook_cursors).where(webhook_cursors.c.webhook == name)
        transaction.execute(
            mine.values(
                cursor=state.cursor, failures=state.failures, paused_until=state.paused_until
            )
        )

    def _left(self, name: str) -> tuple[int, int]:
        """Return how many events wait, and how many are dead."""
        c = webhook_failures.c
        counts = select(func.count(), func.count(c.dead_at)).where(c.webhook == name)
        with self._database.statement() as connection:
            every, dead = connection.execute(counts).one()
        return every - dead, dead


def _lock_of(name: str) -> str:
    return f"webhook {name}"


def _is_failure(name: str, event_id: UUID) -> Any:
    return and_(webhook_failures.c.webhook == name, webhook_failures.c.event_id == event_id)
