"""The schema's history, on both databases."""

import re
import secrets
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import event, inspect, text

from tests.support.app import services_of
from tests.support.databases import ON_BOTH
from tests.support.documents import block_with
from tests.support.migrations import ADDITIVE, Future, config_over
from tests.support.phone import Phone
from tests.support.postgres import Postgres
from tests.support.schema_rules import faults, released_versions
from tests.support.settings import settings_for
from wxsession import create_app
from wxsession.services import Services
from wxsession.simulator import WeChat, wechat_transport
from wxsession.storage.database import SCHEMA_REVISION, Database, connect, metadata
from wxsession.storage.migrate import migrating, migrations_path, upgrade


def tables(database: Database) -> set[str]:
    with database.statement() as connection:
        return set(inspect(connection).get_table_names()) - {"wxsession_version"}


def test_up_is_what_the_models_say_and_down_leaves_nothing(bare: Database) -> None:
    assert upgrade(bare) == SCHEMA_REVISION
    assert tables(bare) == set(metadata.tables)
    with bare.long_transaction() as connection:
        command.check(config_over(connection))
    with bare.long_transaction() as connection:
        command.downgrade(config_over(connection), "base")
    assert tables(bare) == set()
    assert upgrade(bare) == SCHEMA_REVISION


def test_the_command_takes_the_schema_back_and_up_again(bare: Database, bare_url: str) -> None:
    upgrade(bare)
    newest, previous, *_ = ScriptDirectory(str(migrations_path())).walk_revisions()
    app = create_app(settings_for(bare_url))

    def called(*words: str, answer: str = "") -> tuple[int, str]:
        result = app.test_cli_runner().invoke(args=[*words], input=answer)
        return result.exit_code, result.output

    back = ("downgrade-database", previous.revision)
    assert called(*back, answer="n\n")[0] == 1
    assert called("downgrade-database", "20990101_01", "--yes")[0] == 1
    assert called(*back, answer="y\n")[0] == 0
    assert app.test_client().get("/readyz").status_code == 503
    said = f"The database is at revision {previous.revision}.\n"
    assert called(*back, "--yes") == (0, said)
    assert called("downgrade-database", newest.revision, "--yes") == (0, said)
    assert called("upgrade-database") == (0, f"The database is at revision {newest.revision}.\n")
    with bare.long_transaction() as connection:
        command.check(config_over(connection))
    services_of(app).database.close()


def test_the_documents_go_back_to_a_revision_that_there_is() -> None:
    (named,) = re.findall(r"downgrade-database (\d+_\d+)", block_with("downgrade-database", "sh"))
    scripts = ScriptDirectory(str(migrations_path()))
    assert named in {script.revision for script in scripts.walk_revisions()}


@ON_BOTH
def test_this_version_works_with_the_schema_of_a_newer_one(
    app: Flask, phone: Phone, services: Services
) -> None:
    with services.database.long_transaction() as connection:
        for name in metadata.tables:
            connection.execute(text(f"ALTER TABLE {name} ADD COLUMN of_a_newer_version TEXT"))
        connection.execute(text("UPDATE wxsession_version SET version_num = '20990101_01'"))
    for command_ in "upgrade-database", "purge-sessions":
        assert app.test_cli_runner().invoke(args=[command_]).exit_code == 0
    asked = [phone.send("GET", "/readyz"), phone.log_in(), phone.check(), phone.refresh()]
    assert {answer.status_code for answer in asked} == {200}
    assert phone.log_out().status_code == 204


def test_the_code_names_the_newest_revision_and_revisions_sort_by_date() -> None:
    scripts = ScriptDirectory(str(migrations_path()))
    assert scripts.get_current_head() == SCHEMA_REVISION
    history = [script.revision for script in reversed(list(scripts.walk_revisions()))]
    assert history == sorted(history)


def test_postgresql_leaves_room_for_touches(postgresql_url: str) -> None:
    database = connect(postgresql_url)
    with database.statement() as connection:
        options = connection.execute(
            text("SELECT reloptions FROM pg_class WHERE relname = 'wxsession_sessions'")
        ).scalar_one()
    database.close()
    assert options == ["fillfactor=80"]


def test_no_revision_depends_on_todays_package() -> None:
    for path in (migrations_path() / "versions").glob("*.py"):
        assert not re.search(r"(import|from) wxsession", path.read_text())


def test_four_upgrades_at_once_wait_for_one_another(bare_url: str) -> None:
    reached: list[str] = []

    def bring_up() -> None:
        database = connect(bare_url)
        reached.append(upgrade(database))
        database.close()

    threads = [threading.Thread(target=bring_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert reached == [SCHEMA_REVISION] * 4


def test_nobody_notices_an_upgrade(app: Flask, wechat: WeChat) -> None:
    stop = threading.Event()
    statuses: set[int] = set()

    def use(user: str) -> None:
        for number in count():  # WeChat lets nobody log in all the time
            if stop.is_set():
                return
            phone = Phone(app, wechat, f"{user} {number}")
            answers = [phone.log_in(), phone.check(), phone.refresh(), phone.log_out()]
            statuses.update(answer.status_code for answer in answers)

    threads = [threading.Thread(target=use, args=(f"user {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        upgrade(services_of(app).database)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert statuses == {200, 204}


def test_a_server_is_not_ready_before_the_upgrade_and_the_command_makes_it(bare_url: str) -> None:
    wechat = WeChat({"wx0123456789abcdef": "s"})
    settings = settings_for(bare_url, apps="wx0123456789abcdef:s")
    app = create_app(settings, http=wechat_transport(wechat))
    phone = Phone(app, wechat, "alice")
    assert phone.send("GET", "/healthz").status_code == 200
    assert phone.send("GET", "/readyz").status_code == 503
    assert phone.log_in().status_code in {500, 503}
    result = app.test_cli_runner().invoke(args=["upgrade-database"])
    assert (result.exit_code, result.output) == (
        0,
        f"The database is at revision {SCHEMA_REVISION}.\n",
    )
    assert phone.send("GET", "/readyz").status_code == 200
    assert phone.log_in().status_code == 200
    services_of(app).database.close()


# The rule for what a migration may do: `docs/en/development.md`.


BEFORE_THE_RULE: Final = "20261129_99"


def statements_of(database: Database, folder: Path, revision: str) -> list[str]:
    """Return what the next revision executes on PostgreSQL."""
    heard: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        heard.append(statement)

    with migrating(database) as connection:
        event.listen(connection, "before_cursor_execute", listen)
        command.upgrade(config_over(connection, folder), revision)
    return heard


def faults_of(url: str, folder: Path) -> list[str]:
    """Return what the revisions after today do that they must not."""
    database = connect(url)
    scripts = ScriptDirectory(str(folder))
    found = []
    for script in reversed(list(scripts.walk_revisions())):
        heard = statements_of(database, folder, script.revision)
        if script.revision > BEFORE_THE_RULE:
            unused_since = getattr(script.module, "unused_since", None)
            found += faults(heard, may_drop=unused_since in released_versions())
    database.close()
    return found


@pytest.fixture
def empty_postgresql_url(postgres: Postgres) -> Iterator[str]:
    """Return the URL of a PostgreSQL database without any table."""
    name = f"empty_{secrets.token_hex(8)}"
    postgres.create_database(name)
    yield postgres.url(name)
    postgres.drop_database(name)


def test_every_migration_keeps_to_the_rule(empty_postgresql_url: str) -> None:
    assert not faults_of(empty_postgresql_url, migrations_path())


def test_the_examples_of_an_addition_keep_to_the_rule(
    empty_postgresql_url: str, tmp_path: Path
) -> None:
    future = Future(tmp_path / "all", ADDITIVE, block_with("autocommit_block", "python"))
    assert not faults_of(empty_postgresql_url, future.folder)


@pytest.mark.parametrize(
    ("upgrade", "fault"),
    [
        ("op.drop_column('wxsession_users', 'avatar_url')", "no released version does without it"),
        ("op.drop_table('wxsession_leases')", "no released version does without it"),
        ("op.rename_table('wxsession_leases', 'wxsession_rights')", "not among what is allowed"),
        (
            "op.alter_column('wxsession_users', 'nickname', new_column_name='name')",
            "not among what is allowed",
        ),
        (
            "op.alter_column('wxsession_users', 'nickname', type_=sa.Text())",
            "not among what is allowed",
        ),
        (
            "op.alter_column('wxsession_users', 'nickname', nullable=False)",
            "not among what is allowed",
        ),
        (
            "op.execute('UPDATE wxsession_users SET nickname = NULL')",
            "not among what is allowed",
        ),
        (
            "op.create_index('ix_new', 'wxsession_sessions', ['created_at'])",
            "everybody waits until it is built",
        ),
        (
            "op.create_index('ix_new', 'wxsession_users', ['nickname'], unique=True)",
            "the old code may write what is not unique",
        ),
        (
            "op.create_check_constraint('ck_new', 'wxsession_users', 'nickname <> chr(65)')",
            "not among what is allowed",
        ),
        (
            "op.add_column('wxsession_users', sa.Column('new', sa.Integer(), nullable=False))",
            "the old code writes rows without it",
        ),
        (
            "op.add_column('wxsession_users', sa.Column('new', sa.Uuid(), server_default=RANDOM))",
            "its default writes every row anew",
        ),
        (
            "op.create_foreign_key('fk', 'wxsession_events', 'wxsession_users', ['id'], ['id'])",
            "not among what is allowed",
        ),
    ],
)
def test_a_migration_that_old_code_would_notice_is_refused(
    empty_postgresql_url: str, tmp_path: Path, upgrade: str, fault: str
) -> None:
    head, _, _ = ADDITIVE.partition("def upgrade")
    constant = 'RANDOM = sa.text("gen_random_uuid()")'
    source = f"{head}{constant}\n\n\ndef upgrade():\n    {upgrade}\n"
    future = Future(tmp_path / "all", source)
    found = faults_of(empty_postgresql_url, future.folder)
    assert [told.partition(":")[0] for told in found] == [fault]


def test_what_a_released_version_did_not_use_may_be_dropped() -> None:
    drop = ["ALTER TABLE wxsession_users DROP COLUMN avatar_url"]
    assert faults(drop)
    assert not faults(drop, may_drop=True)
