"""What the doctor says."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from wxsession.common.wording import Sentence

Subject = Literal[
    "settings",
    "files",
    "metrics",
    "database",
    "autovacuum",
    "pooler",
    "connections",
    "clock",
    "schema",
    "indexes",
    "proxies",
    "rows",
    "purge",
    "sealed values",
    "wechat",
]
State = Literal["ok", "warning", "fault"]


class Finding(NamedTuple):
    """What was found about one subject; `cure` says what to do about what is not ok."""

    subject: Subject
    state: State
    found: Sentence
    cure: Sentence | None = None


Findings = Iterator[Finding]
