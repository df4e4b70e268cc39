"""Webhooks: a receiver gets every event in order for each user, whatever becomes of it."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert, select, text
from standardwebhooks import Webhook as Signer

from tests.support.app import services_of
from tests.support.databases import ON_BOTH
from tests.support.phone import Phone
from tests.support.service import ROOT, plain_environment
from tests.support.settings import environment, settings_for
from tests.support.waiting import eventually
from tests.test_accounts import user_of
from tests.test_administration import Operator
from tests.test_feed import LONG_AGO, let_settle
from wxsession.errors import SettingsError
from wxsession.events.audit import SYSTEM
from wxsession.events.webhooks import Sender
from wxsession.operations.delivery import MOST_COUNTED, Delivered, Delivery
from wxsession.services import Services
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.database import new_id
from wxsession.storage.tables import audit_events, webhook_cursors, webhook_failures

pytestmark = ON_BOTH

SECRET = "whsec_c2VjcmV0IHRoYXQgaXMgbWFkZSB1cCBmb3IgdGVzdHM="
BEGINNING = f"{0:013x}-{0:032x}"


@dataclass
class Receiver:
    """A back end that is told of events, and answers what it likes: by default 204."""

    port: int = 0
    took: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """The ids of all messages, taken or not."""
    answer: Callable[[dict[str, Any]], int] = lambda _message: 204
    slowly: Callable[[], Iterator[bytes]] | None = None
    """What it sends in place of that, part by part."""
    free: threading.Event = field(default_factory=threading.Event)
    """Whoever is slow goes on as soon as this is set."""

    @property
    def types(self) -> list[str]:
        """The types of what was taken."""
        return [message["type"] for message in self.took]

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Compare the signature with that of the standard's own library, and answer."""
        message: dict[str, Any] = json.loads(body)
        at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        signature = Signer(SECRET).sign(headers["webhook-id"], at, body.decode())
        if headers["webhook-signature"] != signature:
            return 401
        self.asked.append(headers["webhook-id"])
        status = self.answer(message)
        if status == 204:
            self.took.append(message)
        return status


@contextmanager
def listening(receiver: Receiver) -> Iterator[None]:
    """Let a receiver listen at its port, or at a free one."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.take(dict(self.headers), body)
            if receiver.slowly is not None:
                with suppress(OSError):  # nobody waits for it any more
                    for part in receiver.slowly():
                        self.wfile.write(part)
                return
            self.send_response(status)
            self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", receiver.port), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        receiver.free.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a receiver that listens."""
    found = Receiver()
    with listening(found):
        yield found


@pytest.fixture
def app(make_app: Callable[..., Flask], receiver: Receiver) -> Flask:
    """Return a server with a webhook that has read nothing yet."""
    url = f"http://127.0.0.1:{receiver.port}/events"
    app = make_app(webhooks=f"shop:{url}:{SECRET}", webhooks_to_private="on")
    start_at(services_of(app), BEGINNING)
    return app


def start_at(services: Services, cursor: str, webhook: str = "shop") -> None:
    with services.database.transaction() as transaction:
        row = {"webhook": webhook, "cursor": cursor, "failures": 0}
        transaction.execute(insert(webhook_cursors).values(row))


def happen(services: Services, *events: str, user: Any = None) -> None:
    """Let events happen, long enough ago."""
    for event in events:
        with services.database.transaction() as transaction:
            services.audit.write(transaction, event, SYSTEM, user_id=user)
    let_settle(services)


def test_what_was_not_sent_yet_waits(services: Services, receiver: Receiver) -> None:
    happen(services, "one", "two", "three")
    assert services.delivery.states()[0].waiting == 3
    receiver.answer = lambda message: 204 if message["type"] == "one" else 500
    services.delivery.run("shop")
    assert services.delivery.states()[0].waiting == 2
    row = {"event": "more", "at": LONG_AGO, "recorded_at": LONG_AGO + timedelta(days=1)}
    many = [{"id": new_id(), **row} for _ in range(MOST_COUNTED)]
    with services.database.transaction() as transaction:
        transaction.execute(insert(audit_events), many)
    assert services.delivery.states()[0].waiting == MOST_COUNTED


def test_a_receiver_is_told_what_happened_signed_and_in_order(
    phone: Phone, services: Services, receiver: Receiver
) -> None:
    grant = phone.log_in().json
    phone.log_out()
    let_settle(services)
    assert services.delivery.run("shop") == Delivered(3, 0, 0, 0)
    assert receiver.types == ["user.created", "session.created", "session.ended"]
    ended = receiver.took[-1]
    assert ended["data"] == {
        "user_id": grant["user"]["id"],
        "session_id": grant["session_id"],
        "reason": "logout",
        "count": 1,
        "client_address": phone.address,
        "user_agent": phone.user_agent,
    }
    assert services.delivery.run("shop") == Delivered(0, 0, 0, 0)
    assert len(receiver.asked) == 3


def test_a_new_webhook_hears_of_what_happens_from_now_on(
    make_app: Callable[..., Flask], receiver: Receiver
) -> None:
    url = f"http://127.0.0.1:{receiver.port}/events"
    services = services_of(make_app(webhooks=f"new:{url}:{SECRET}", webhooks_to_private="on"))
    happen(services, "before")
    services.delivery.run("new")
    with services.database.transaction() as transaction:
        services.audit.write(transaction, "after", SYSTEM)
    eventually(lambda: services.delivery.run("new").sent == 1)
    assert receiver.types == ["after"]


def test_what_is_not_taken_waits_and_so_does_what_follows_of_its_user(
    services: Services, receiver: Receiver, clock: SettableClock
) -> None:
    alice, bob = new_id(), new_id()
    happen(services, "first", user=alice)
    happen(services, "bob's", user=bob)
    happen(services, "second", user=alice)
    receiver.answer = lambda message: 500 if message["type"] == "first" else 204
    assert services.delivery.run("shop") == Delivered(1, 1, 2, 0)
    assert receiver.types == ["bob's"]
    clock.advance(seconds=4)
    assert services.delivery.run("shop").failed == 0  # it is not due yet
    receiver.answer = lambda _message: 204
    clock.advance(seconds=1)
    assert services.delivery.run("shop") == Delivered(2, 0, 0, 0)
    assert receiver.types == ["bob's", "first", "second"]
    assert len(set(receiver.asked)) == 3  # the same id each time


def test_what_waits_is_due_before_a_long_feed_is_read_to_its_end(
    services: Services, receiver: Receiver, clock: SettableClock
) -> None:
    happen(services, "refused", user=new_id())
    with services.database.transaction() as transaction:
        for _ in range(250):
            services.audit.write(transaction, "other", SYSTEM, user_id=new_id())
    let_settle(services)

    def answer(message: dict[str, Any]) -> int:
        clock.advance(seconds=1)
        return 500 if message["type"] == "refused" and len(receiver.asked) == 1 else 204

    receiver.answer = answer
    assert services.delivery.run("shop") == Delivered(251, 1, 0, 0)
    assert receiver.types.index("refused") < 100  # a page of the feed


@pytest.mark.parametrize("status", [301, 307, 400, 404, 410, 429, 500, 503])
def test_whatever_is_not_2xx_is_no_success_and_no_redirect_is_followed(
    services: Services, receiver: Receiver, status: int
) -> None:
    happen(services, "event")
    receiver.answer = lambda _message: status
    assert services.delivery.run("shop") == Delivered(0, 1, 1, 0)
    assert len(receiver.asked) == 1


def test_a_receiver_that_is_down_for_an_hour_gets_everything_when_it_is_back(
    make_app: Callable[..., Flask], clock: SettableClock
) -> None:
    receiver = Receiver()
    with listening(receiver):
        pass  # it had a port, where nobody listens now
    url = f"http://127.0.0.1:{receiver.port}/events"
    services = services_of(make_app(webhooks=f"shop:{url}:{SECRET}", webhooks_to_private="on"))
    start_at(services, BEGINNING)
    users = [new_id() for _ in range(20)]
    attempts = 0
    for minute in range(60):
        if minute % 10 == 0:
            for number, user in enumerate(users):
                happen(services, f"{minute}.{number}", user=user)
        attempts += services.delivery.run("shop").failed
        clock.advance(minutes=1)
    assert attempts < 40  # it was left alone
    with listening(receiver):
        clock.advance(minutes=5)
        done = services.delivery.run("shop")
    assert (done.sent, done.failed, done.waiting, done.dead) == (120, 0, 0, 0)
    for user in users:
        of_user = [one["type"] for one in receiver.took if one["data"].get("user_id") == str(user)]
        assert of_user == sorted(of_user)
        assert len(of_user) == 6


TAKEN = b"HTTP/1.1 204 No Content\r\n"


def late(receiver: Receiver) -> Iterator[bytes]:
    """Answer when it is too late."""
    receiver.free.wait(60)
    yield TAKEN + b"\r\n"


def dripping(receiver: Receiver) -> Iterator[bytes]:
    """Answer byte by byte, for a long time; a moment after each of them would be in time."""
    yield TAKEN + b"X-Padding: "
    for _ in range(600):
        receiver.free.wait(0.05)
        yield b"."


@pytest.mark.parametrize("kind", [late, dripping])
def test_a_receiver_that_is_slow_is_given_up_in_time_and_told_again(
    services: Services,
    receiver: Receiver,
    clock: SettableClock,
    kind: Callable[[Receiver], Iterator[bytes]],
) -> None:
    delivery = Delivery(
        services.database,
        feed=services.feed,
        webhooks=services.settings.webhooks,
        sender=Sender(to_private=True, timeout=(5, 0.5)),
        audit=services.audit,
        clock=clock,
    )
    happen(services, "event")
    receiver.slowly = lambda: kind(receiver)
    begun = time.monotonic()
    assert delivery.run("shop") == Delivered(0, 1, 1, 0)
    assert time.monotonic() - begun < 15  # half of what the receiver would take
    with services.database.statement() as connection:
        reason = connection.execute(select(webhook_failures.c.reason)).scalar_one()
    assert reason == "did not answer in time"
    receiver.slowly = None
    clock.advance(seconds=5)
    assert delivery.run("shop") == Delivered(1, 0, 0, 0)
    first, second = receiver.asked
    assert first == second  # by which the receiver knows that it has it already


def test_other_receivers_do_not_wait_for_a_slow_one(
    make_app: Callable[..., Flask], receiver: Receiver
) -> None:
    quick = Receiver()
    with listening(quick):
        webhooks = (
            f"{name}:http://127.0.0.1:{one.port}/events:{SECRET}"
            for name, one in (("shop", receiver), ("quick", quick))
        )
        app = make_app(webhooks=",".join(webhooks), webhooks_to_private="on")
        services = services_of(app)
        for name in ("shop", "quick"):
            start_at(services, BEGINNING, name)
        happen(services, "first", "second")
        receiver.slowly = lambda: late(receiver)
        with ThreadPoolExecutor() as pool:
            delivering = pool.submit(Operator(app).ask, "events", "deliver")
            eventually(lambda: quick.types == ["first", "second"])
            assert receiver.asked[1:] == []
            receiver.free.set()
            done = delivering.result()
    assert {name: counts["sent"] for name, counts in done.items()} == {"shop": 2, "quick": 2}


def test_what_is_never_taken_is_dead_and_can_be_replayed(
    app: Flask, services: Services, receiver: Receiver, clock: SettableClock
) -> None:
    alice = new_id()
    happen(services, "poison", user=alice)
    happen(services, "later", user=alice)
    receiver.answer = lambda message: 500 if message["type"] == "poison" else 204
    for _ in range(60):
        services.delivery.run("shop")
        clock.advance(hours=1)
    assert receiver.types == ["later"]
    assert receiver.asked.count(receiver.asked[0]) == 9
    operator = Operator(app)
    shown = operator.run("events", "deliver", "--json")
    assert (shown.exit_code, json.loads(shown.output)) == (
        0,
        {"shop": {"sent": 0, "failed": 0, "waiting": 0, "dead": 1}},
    )
    receiver.answer = lambda _message: 204
    assert operator.ask("events", "replay", "shop") == {"webhook": "shop", "replayed": 1}
    assert operator.ask("events", "deliver")["shop"]["sent"] == 1
    assert receiver.types == ["later", "poison"]


def test_an_event_that_is_purged_is_not_waited_for(
    services: Services, receiver: Receiver, clock: SettableClock
) -> None:
    happen(services, "event")
    receiver.answer = lambda _message: 500
    services.delivery.run("shop")
    clock.advance(days=400)
    services.purge.run(timedelta(0))
    with services.database.statement() as connection:
        assert connection.execute(select(webhook_failures)).all() == []
    assert services.delivery.run("shop") == Delivered(0, 0, 0, 0)


@pytest.mark.long
def test_a_delivery_that_goes_on_for_ever_survives_a_kill_and_an_outage_of_the_schema(
    services: Services, receiver: Receiver, database_url: str
) -> None:
    url = f"http://127.0.0.1:{receiver.port}/events"
    settings = environment(database_url, webhooks=f"shop:{url}:{SECRET}", webhooks_to_private="on")
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "events", "deliver", "--forever"]

    def awaits(event: str) -> None:
        eventually(lambda: event in receiver.types)

    def renamed(old: str, new: str) -> None:
        with services.database.transaction() as transaction:
            transaction.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    for number in range(2):
        with subprocess.Popen(command, cwd=ROOT, env=plain_environment() | settings) as process:
            try:
                happen(services, f"first.{number}")
                awaits(f"first.{number}")
                renamed("wxsession_webhook_cursors", "elsewhere")
                time.sleep(2)  # in which it looks for something new
                renamed("elsewhere", "wxsession_webhook_cursors")
                happen(services, f"second.{number}")
                awaits(f"second.{number}")
            finally:
                process.kill()
    # What was on its way then is sent again, by the same id.
    assert len(set(receiver.asked)) == 4
    assert list(dict.fromkeys(receiver.types)) == ["first.0", "second.0", "first.1", "second.1"]


def test_only_one_process_delivers_to_a_webhook(
    app: Flask, services: Services, receiver: Receiver
) -> None:
    happen(services, "event")
    refused: list[Any] = []

    def ask_another(_message: object) -> int:
        refused.append(Operator(app).run("events", "deliver"))
        return 204

    receiver.answer = ask_another
    assert services.delivery.run("shop").sent == 1
    assert [(one.exit_code, one.output) for one in refused] == [
        (4, "Another process delivers to this webhook.\n")
    ]


def test_a_private_address_is_refused_unless_allowed(
    make_app: Callable[..., Flask], receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"https://localhost:{receiver.port}/events"
    services = services_of(make_app(webhooks=f"shop:{url}:{SECRET}"))
    start_at(services, BEGINNING)
    happen(services, "event")
    assert services.delivery.run("shop") == Delivered(0, 1, 1, 0)
    assert receiver.asked == []
    assert "its address is not public" in caplog.text


def test_operators_are_told_what_is_wrong(app: Flask, phone: Phone) -> None:
    operator = Operator(app)
    unknown = operator.run("events", "deliver", "--webhook", "nobody")
    assert (unknown.exit_code, unknown.output) == (
        1,
        "Error: no webhook has this name; WXSESSION_WEBHOOKS has shop\n",
    )
    assert operator.run("events", "replay", "nobody").exit_code == 1
    assert phone.log_in().status_code == 200
    assert user_of(phone)["id"]


def test_without_webhooks_there_is_nothing_to_deliver(make_app: Callable[..., Flask]) -> None:
    refused = Operator(make_app()).run("events", "deliver")
    assert (refused.exit_code, refused.output) == (
        1,
        "Error: there is no webhook; set WXSESSION_WEBHOOKS\n",
    )


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("shop", "not of the form"),
        ("shop:ftp://example.org:" + SECRET, "not of the form"),
        ("shop:https://example.org:short", "24 to 64 random bytes"),
        (f"shop:https://example.org:{SECRET},shop:https://example.org:{SECRET}", "a name twice"),
        (f"shop:http://example.org:{SECRET}", "shop is not https"),
        (f"a name:https://example.org:{SECRET}", "not of the form"),
        (f"shop:https://:{SECRET}", "not of the form"),
        (f"shop:https://?:{SECRET}", "has no URL"),
    ],
)
def test_a_wrong_setting_is_a_fault_in_words(database_url: str, value: str, fault: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        settings_for(database_url, webhooks=value)
    assert fault in str(refusal.value)
    assert SECRET not in str(refusal.value)


def test_a_webhook_shows_no_secret(app: Flask, wechat: WeChat) -> None:
    assert wechat is not None
    assert SECRET not in repr(services_of(app).settings)
    assert "c2VjcmV0" not in repr(services_of(app).settings.webhooks)
