"""What the doctor says."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

State = Literal["ok", "warning", "fault"]


class Finding(NamedTuple):
    """What was found about one subject; `cure` says what to do about what is not ok."""

    subject: str
    state: State
    found: str
    cure: str | None = None


Findings = Iterator[Finding]
