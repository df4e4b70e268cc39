"""For the migrations of a host application that has its tables in the same database as ours.

::

    def include_object(item, name, kind, *_):
        return not is_ours(name, kind)

is an argument of Flask-Migrate's ``Migrate``, or of ``context.configure`` in `env.py`. Then
``alembic revision --autogenerate`` and ``flask db migrate`` do not propose to drop our tables.
"""

from wxsession.storage.database import TABLE_PREFIX


def is_ours(name: str | None, kind: str = "table", *_: object) -> bool:
    """Return whether this is a table of wxsession's.

    The arguments are those that Alembic gives to ``include_name``; to ``include_object`` it gives
    the object first.
    """
    return kind == "table" and (name or "").startswith(TABLE_PREFIX)
