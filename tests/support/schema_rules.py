"""What a migration may do while old code serves: the rule of `docs/en/development.md`."""

import re
from collections.abc import Collection, Sequence
from typing import Final

from tests.support.service import ROOT

_TABLE: Final = r'(?P<table>"?\w+"?)'
_CREATE_TABLE: Final = re.compile(rf"CREATE TABLE {_TABLE} ")
_ADD_COLUMN: Final = re.compile(rf"ALTER TABLE {_TABLE} ADD COLUMN (?P<definition>.*)")
_CREATE_INDEX: Final = re.compile(
    rf"CREATE (?P<unique>UNIQUE )?INDEX (?P<concurrently>CONCURRENTLY )?\S+ ON {_TABLE} "
)
_ON_TABLE: Final = re.compile(rf"(ALTER TABLE|CREATE (UNIQUE )?INDEX \S+ ON) {_TABLE} ")
_DROP: Final = re.compile(r"DROP TABLE |DROP INDEX |ALTER TABLE \S+ DROP (COLUMN|CONSTRAINT) ")
_DROP_FAILED_INDEX: Final = re.compile(r"DROP INDEX (CONCURRENTLY )?IF EXISTS ")
_CONSTANT: Final = re.compile(r"DEFAULT ('[^']*'|-?[\d.]+|true|false|now\(\))", re.IGNORECASE)
_HARMLESS: Final = re.compile(r"SELECT |COMMENT ON |(UPDATE|INSERT INTO) wxsession_version ")


def faults(statements: Sequence[str], *, may_drop: bool = False) -> list[str]:
    """Return what a revision must not do, of all the statements that it executes on PostgreSQL."""
    flat = [" ".join(statement.split()) for statement in statements]
    own = [statement for statement in flat if not _HARMLESS.match(statement)]
    new = {found["table"] for statement in own if (found := _CREATE_TABLE.match(statement))}
    indexes = [s for s in own if (found := _CREATE_INDEX.match(s)) and found["concurrently"]]
    others = [s for s in own if s not in indexes and not _DROP_FAILED_INDEX.match(s)]
    told = [
        f"{fault}: {statement}"
        for statement in own
        if (fault := _fault(statement, new, may_drop=may_drop))
    ]
    if indexes and others:
        told.append(f"an index has a revision of its own: {others[0]}")
    return told


def released_versions() -> set[str]:
    """Return the versions of the changelog that are released."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return set(re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE))


def _fault(statement: str, new: Collection[str], *, may_drop: bool) -> str | None:
    if _CREATE_TABLE.match(statement) or _DROP_FAILED_INDEX.match(statement):
        return None
    if _DROP.match(statement):
        return None if may_drop else "no released version does without it"
    if (found := _ON_TABLE.match(statement)) and found["table"] in new:
        return None
    if found := _CREATE_INDEX.match(statement):
        return _fault_of_index(found)
    found = _ADD_COLUMN.match(statement)
    return _fault_of_column(found["definition"]) if found else "not among what is allowed"


def _fault_of_index(found: re.Match[str]) -> str | None:
    if found["unique"]:
        return "the old code may write what is not unique"
    return None if found["concurrently"] else "everybody waits until it is built"


def _fault_of_column(definition: str) -> str | None:
    if "DEFAULT" in definition and not _CONSTANT.search(definition):
        return "its default writes every row anew"
    if "NOT NULL" in definition and "DEFAULT" not in definition:
        return "the old code writes rows without it"
    if re.search(r"UNIQUE|REFERENCES|CHECK", definition):
        return "the old code does not know its constraint"
    return None
