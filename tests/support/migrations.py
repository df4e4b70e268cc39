"""Alembic over a connection of a test, and migrations that are not written yet."""

import re
import shutil
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from wxsession.storage.database import SCHEMA_REVISION, Database
from wxsession.storage.migrate import migrating, migrations_path

ADDITIVE: Final = '''
"""What a release may add."""

import sqlalchemy as sa
from alembic import op

revision = ""
down_revision = ""


def upgrade() -> None:
    """Apply this revision."""
    op.create_table("wxsession_novelties", sa.Column("id", sa.Uuid(), primary_key=True))
    op.add_column("wxsession_users", sa.Column("novelty", sa.Uuid(), nullable=True))
    op.add_column(
        "wxsession_sessions",
        sa.Column("novelties", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )


def downgrade() -> None:
    """Take this revision back."""
    op.drop_column("wxsession_sessions", "novelties")
    op.drop_column("wxsession_users", "novelty")
    op.drop_table("wxsession_novelties")
'''


def config_over(connection: Connection, folder: Path | None = None) -> Config:
    """Return the configuration that lets Alembic's commands use this connection."""
    config = Config()
    config.set_main_option("script_location", str(folder or migrations_path()))
    config.attributes["connection"] = connection
    return config


class Future:
    """Our migrations with some more, in a folder of their own."""

    def __init__(self, folder: Path, *sources: str) -> None:
        """Write them; `sources` may have any names of revisions."""
        self.folder = folder
        self.revision = SCHEMA_REVISION
        shutil.copytree(migrations_path(), folder)
        for number, source in enumerate(sources, start=1):
            name = f"20991231_{number:02}"
            for variable, value in (("down_revision", self.revision), ("revision", name)):
                pattern = rf"^{variable} = .*$"
                source = re.sub(pattern, f'{variable} = "{value}"', source, flags=re.MULTILINE)  # noqa: PLW2901
            (folder / "versions" / f"{name}.py").write_text(source, encoding="utf-8")
            self.revision = name

    def upgrade(self, database: Database) -> None:
        """Apply all."""
        with migrating(database) as connection:
            command.upgrade(config_over(connection, self.folder), "head")

    def downgrade(self, database: Database) -> None:
        """Take those back."""
        with migrating(database) as connection:
            command.downgrade(config_over(connection, self.folder), SCHEMA_REVISION)
