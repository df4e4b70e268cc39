"""After a run everything opens with the newest key alone, and nothing was lost on the way."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pyotp
import pytest
from flask import Flask
from sqlalchemy import event, insert, select, text, update

from tests.support.app import TODAY, services_of
from tests.support.databases import ON_BOTH, ON_POSTGRESQL
from tests.support.phone import Phone
from tests.support.settings import APPID, OTHER_APPID, SECRET_KEY
from tests.support.waiting import eventually
from wxsession.cli import EXIT_NOT_ALL
from wxsession.common.crypto import Sealer, SecretKeys
from wxsession.errors import Overloaded
from wxsession.events.audit import SYSTEM
from wxsession.operations.admins.admin import Role
from wxsession.operations.admins.signing_in import SignIn
from wxsession.operations.directory import UserFilter
from wxsession.operations.job_results import results
from wxsession.operations.reseal import SEALED, Resealing
from wxsession.simulator import SettableClock, WeChat
from wxsession.storage.database import new_id
from wxsession.storage.tables import access_tokens, session_keys, users
from wxsession.users.phone_numbers import PhoneNumber, PhoneNumbers
from wxsession.wechat.session_keys import SessionKeyStore

pytestmark = ON_BOTH

NEW = "new-" * 10
BOTH = f"{SECRET_KEY},{NEW}"
NUMBER = PhoneNumber("13800138000", "86")

Make = Callable[..., Flask]


def quiet(_done: int) -> None:
    """Show no progress."""


def resealing(app: Flask, *keys: str) -> Resealing:
    """Return a resealing of a server with these keys, over the same database."""
    secret, sealer = SecretKeys(keys), Sealer(SecretKeys(keys))
    return Resealing(services_of(app).database, sealer, PhoneNumbers(sealer, secret))


def session_keys_under(app: Flask, *keys: str) -> list[str]:
    """Return the session_keys that these server keys open."""
    ring = SessionKeyStore(Sealer(SecretKeys(keys)))
    with services_of(app).database.statement() as connection:
        ids = connection.execute(select(session_keys.c.identity_id)).scalars().all()
    database = services_of(app).database
    return [key.session_key for id_ in ids for key in ring.keys(database, id_)]


def add_user(app: Flask, number: PhoneNumber) -> None:
    """Add a user who has this phone number."""
    services, user_id = services_of(app), new_id()
    columns = services.phones.columns(number, user_id)
    with services.database.statement() as connection:
        connection.execute(insert(users).values(id=user_id, created_at=TODAY, **columns))


def add_admin(app: Flask) -> str:
    """Add an admin of the console; return the secret of the codes."""
    services = services_of(app)
    link = services.admins.add("ada", Role.OWNER)
    secret = services.admin_sessions.invitation(link.token).totp_secret
    code = pyotp.TOTP(secret).at(TODAY)
    services.admin_sessions.accept(link.token, "correct horse battery", code, SYSTEM)
    return secret


def found(app: Flask, number: PhoneNumber) -> list[str | None]:
    """Return the masked numbers of the users who are found by a number."""
    page = services_of(app).directory.users(UserFilter(phone=number))
    return [user.phone_number for user in page.items]


def test_a_run_that_was_stopped_goes_on_where_it_was(app: Flask, wechat: WeChat) -> None:
    for number in range(5):
        Phone(app, wechat, f"user {number}").log_in()
        Phone(app, wechat, f"user {number}", appid=OTHER_APPID).log_in()

    def stop(_done: int) -> None:
        raise KeyboardInterrupt

    both = resealing(app, SECRET_KEY, NEW)
    with pytest.raises(KeyboardInterrupt):
        both.run(batch_size=3, progress=stop)
    assert len(session_keys_under(app, NEW)) == 3
    seen: list[int] = []
    assert both.run(batch_size=3, progress=seen.append) == (7, 0)
    assert seen == [3, 6, 7]
    assert both.run(batch_size=3, progress=seen.append) == (0, 0)
    assert len(session_keys_under(app, NEW)) == 10


def test_phone_numbers_are_counted_after_the_session_keys(app: Flask, phone: Phone) -> None:
    phone.log_in()
    for last in range(5):
        add_user(app, PhoneNumber(f"1380013800{last}", "86"))
    seen: list[int] = []
    both = resealing(app, SECRET_KEY, NEW)
    assert both.run(batch_size=2, progress=seen.append) == (6, 0)
    assert seen == [1, 3, 5, 6]
    assert both.run(batch_size=2, progress=quiet) == (0, 0)


def test_a_number_is_found_before_and_after_the_key_is_rotated(make_app: Make) -> None:
    old = make_app()
    add_user(old, NUMBER)
    rotating, masked = make_app(secret_keys=BOTH), ["138******00"]
    assert found(old, NUMBER) == found(rotating, NUMBER) == masked
    assert services_of(rotating).resealing.run(batch_size=10, progress=quiet) == (1, 0)
    assert found(rotating, NUMBER) == masked
    assert found(make_app(secret_keys=NEW), NUMBER) == masked
    assert found(rotating, PhoneNumber("13800138001", "86")) == []
    assert found(rotating, PhoneNumber("13800138000", "852")) == []


def test_the_codes_of_an_admin_are_good_before_and_after_the_key_is_rotated(
    make_app: Make, clock: SettableClock
) -> None:
    old = make_app()
    secret = add_admin(old)
    rotating = make_app(secret_keys=BOTH)
    assert services_of(rotating).resealing.sample(None) == (1, 0, 1)
    assert services_of(rotating).resealing.run(batch_size=10, progress=quiet) == (1, 0)
    for app in (rotating, make_app(secret_keys=NEW)):
        clock.advance(seconds=30)
        typed = SignIn("ada", "correct horse battery", pyotp.TOTP(secret).at(clock()))
        assert services_of(app).admin_sessions.sign_in(typed, SYSTEM)
    assert services_of(old).resealing.sample(None) == (1, 1, 1)


def test_what_no_key_opens_is_left_alone(app: Flask, phone: Phone) -> None:
    phone.log_in()
    add_user(app, NUMBER)
    assert resealing(app, NEW).run(batch_size=1, progress=quiet) == (0, 2)
    assert session_keys_under(app, NEW) == []
    assert session_keys_under(app, SECRET_KEY) == [phone.wechat.session_key("alice")]
    assert found(app, NUMBER) == ["138******00"]


def test_a_phone_number_that_is_replaced_meanwhile_stays_the_new_one(
    app: Flask, phone: Phone, make_app: Make
) -> None:
    phone.log_in()
    add_user(app, NUMBER)
    rotating = make_app(secret_keys=BOTH)
    other = PhoneNumber("13900139000", "86")

    def replace(_done: int) -> None:
        services = services_of(rotating)
        with services.database.statement() as connection:
            query = select(users.c.id).where(users.c.phone_number_hash.is_not(None))
            user_id = connection.execute(query).scalar_one()
            changed = services.phones.columns(other, user_id)
            connection.execute(update(users).where(users.c.id == user_id).values(changed))

    services_of(rotating).resealing.run(batch_size=1, progress=replace)
    assert found(rotating, other) == ["139******00"]
    assert found(rotating, NUMBER) == []


@ON_POSTGRESQL
def test_a_number_whose_user_logs_in_meanwhile_is_waited_for(make_app: Make) -> None:
    add_user(make_app(), NUMBER)
    services = services_of(make_app(secret_keys=BOTH, database_timeout="60s"))

    def is_waiting() -> bool:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        query = text(waiting + " AND datname = current_database()")
        with services.database.statement() as connection:
            return bool(connection.execute(query).scalar_one())

    with ThreadPoolExecutor(1) as pool:
        with services.database.transaction() as login:
            login.execute(select(users.c.id).with_for_update())
            run = pool.submit(services.resealing.run, batch_size=10, progress=quiet)
            eventually(lambda: run.done() or is_waiting())
        assert run.result(60) == (1, 0)
    assert found(make_app(secret_keys=NEW), NUMBER) == ["138******00"]


def test_an_access_token_under_an_older_key_is_forgotten_and_a_newer_one_kept(
    app: Flask, clock: SettableClock
) -> None:
    database = services_of(app).database
    old, new = Sealer(SecretKeys([SECRET_KEY])), Sealer(SecretKeys([SECRET_KEY, NEW]))
    with database.statement() as connection:
        for appid, sealer in ((APPID, old), (OTHER_APPID, new)):
            sealed = sealer.seal(b"token", row=new_id(), column="access_tokens.sealed")
            later = clock() + timedelta(hours=2)
            row = {"appid": appid, "sealed": sealed, "expires_at": later}
            connection.execute(insert(access_tokens).values(row))
    assert resealing(app, SECRET_KEY, NEW).run(batch_size=1, progress=quiet) == (0, 0)
    with database.statement() as connection:
        kept = {row.appid: row for row in connection.execute(select(access_tokens))}
    assert (kept[APPID].sealed, kept[APPID].expires_at) == (None, None)
    assert kept[OTHER_APPID].sealed is not None
    assert kept[OTHER_APPID].expires_at is not None


def test_the_command_says_how_much_it_did(make_app: Make, wechat: WeChat) -> None:
    old = make_app()
    Phone(old, wechat, "alice").log_in()
    add_user(old, NUMBER)
    run = make_app(secret_keys=BOTH).test_cli_runner().invoke
    assert run(args=["keys", "reseal", "--batch-size", "1"]).output == "2 values resealed.\n"
    assert json.loads(run(args=["keys", "reseal", "--json"]).output) == {
        "resealed": 0,
        "unopened": 0,
    }


def test_the_command_says_what_it_could_not_open_and_does_not_exit_with_0(
    make_app: Make, wechat: WeChat
) -> None:
    old = make_app()
    Phone(old, wechat, "alice").log_in()
    add_user(old, NUMBER)
    without, both = make_app(secret_keys=NEW), make_app(secret_keys=BOTH)
    Phone(without, wechat, "bob").log_in()
    failed = without.test_cli_runner().invoke(args=["keys", "reseal"])
    assert failed.exit_code == EXIT_NOT_ALL == 5
    assert failed.output.startswith("0 values resealed.\n2 values cannot be opened: the key that")
    failed = without.test_cli_runner().invoke(args=["keys", "reseal", "--json"])
    assert failed.exit_code == EXIT_NOT_ALL
    assert json.loads(failed.stdout) == {"resealed": 0, "unopened": 2}
    done = both.test_cli_runner().invoke(args=["keys", "reseal"])
    assert (done.exit_code, done.output) == (0, "2 values resealed.\n")


def test_what_lies_under_which_key_is_shown(make_app: Make, wechat: WeChat) -> None:
    old, new = make_app(), make_app(secret_keys=NEW)
    for name in ("alice", "bob"):
        Phone(old, wechat, name).log_in()
    add_user(old, NUMBER)
    add_admin(old)
    Phone(new, wechat, "carol").log_in()
    services_of(new).access_tokens.use(APPID, lambda token: token)

    def status(app: Flask) -> list[tuple[object, ...]]:
        """Return place, session_keys, phone numbers and access_tokens of each key."""
        shown = app.test_cli_runner().invoke(args=["keys", "status", "--json"])
        assert shown.exit_code == 0
        return [
            tuple(value for name, value in use.items() if name != "key_id")
            for use in json.loads(shown.output)["keys"]
        ]

    assert status(make_app(secret_keys=BOTH)) == [(1, 2, 1, 0, 1), (2, 1, 0, 1, 0)]
    assert status(new) == [(1, 1, 0, 1, 0), (None, 2, 1, 0, 1)]
    services_of(make_app(secret_keys=BOTH)).resealing.run(batch_size=10, progress=quiet)
    assert status(make_app(secret_keys=BOTH)) == [(1, 0, 0, 0, 0), (2, 3, 1, 1, 1)]
    table = old.test_cli_runner().invoke(args=["keys", "status"]).output.splitlines()
    titles = ["SESSION_KEYS", "PHONE", "NUMBERS", "ACCESS_TOKENS", "SECOND", "FACTORS"]
    assert table[0].split() == ["KEY", "ID", *titles]
    assert [line.split()[0] for line in table[1:]] == ["1", "unknown"]
    assert SECRET_KEY[:8] not in "".join(table)


def test_a_purge_counts_what_lies_under_which_key_so_that_an_alert_sees_who_forgot_to_reseal(
    make_app: Make, wechat: WeChat
) -> None:
    Phone(make_app(), wechat, "alice").log_in()
    newer = make_app(secret_keys=BOTH)
    assert newer.test_cli_runner().invoke(args=["purge-sessions"]).exit_code == 0
    database = services_of(newer).database
    found = {one.item: one.total for one in results(database) if one.job == SEALED}
    assert found == {"1": 1, "2": 0}


def test_a_count_that_is_stopped_changes_nothing(app: Flask, phone: Phone) -> None:
    phone.log_in()
    before = results(services_of(app).database)

    def stop(_done: int) -> None:
        raise Overloaded

    with pytest.raises(Overloaded):
        services_of(app).resealing.status(progress=stop)
    assert results(services_of(app).database) == before


def test_a_count_of_what_lies_under_a_key_reads_bounded_pages(app: Flask) -> None:
    database = services_of(app).database
    with database.transaction() as connection:
        ids = sorted(new_id() for _ in range(20_005))
        connection.execute(insert(users), [{"id": id_, "created_at": TODAY} for id_ in ids])
        sealed = services_of(app).phones.columns(NUMBER, ids[-1])
        connection.execute(update(users).where(users.c.id == ids[-1]).values(sealed))
    pages: list[str] = []

    def count(_connection: object, _cursor: Any, statement: str, *_rest: object) -> None:
        if "FROM wxsession_users" in statement and "LIMIT" in statement:
            pages.append(statement)

    event.listen(database.engine, "before_cursor_execute", count)
    (use,) = services_of(app).resealing.status()
    assert (use.number, use.phone_numbers) == (1, 1)
    assert len(pages) == 4  # two whole ones, a third, and the end
    pages.clear()
    assert services_of(app).resealing.run(batch_size=10, progress=quiet) == (0, 0)
    assert len(pages) == 4 + 3 + 4  # the same pages, what is stale in each, and the count
