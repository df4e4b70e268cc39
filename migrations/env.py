"""How Alembic reaches the database: over the connection it is handed, or as configured."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, DateTime

from wxsession.alembic import is_ours
from wxsession.storage.database import REVISION_TABLE, UtcDateTime, connect, metadata
from wxsession.storage.migrate import migrating, prepare, run_patiently, transaction_of


def render_item(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Write plain SQLAlchemy types into revisions: they must not depend on today's package."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return f"sa.DateTime(timezone={DateTime(timezone=True).timezone})"
    return False


def migrate(connection: Connection) -> None:
    """Run the migrations on this connection; inside its transaction, if it is in one."""
    with transaction_of(connection):
        prepare(connection, context.script)
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=REVISION_TABLE,
        include_name=lambda name, kind, _parents: kind != "table" or is_ours(name, kind),
        render_item=render_item,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


handed = context.config.attributes.get("connection")
if handed is not None:
    run_patiently(migrate, handed)
else:
    import config

    with migrating(connect(config.settings().database_url)) as own:
        run_patiently(migrate, own)
