"""An event, as the audit has it, signals bring it, and the feed returns it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final
from uuid import UUID

from wxsession.storage.tables import audit_events


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a user or a session; the names are in the documentation (``events.md``).

    `reason` is the error code of a refusal, or why it happened. `new_user_id` is the id that a user
    has from now on (``user.merged``), or that of the user who was made of a part of this one
    (``user.split``). A counted event happened `count` times within ten minutes, first at `at`; its
    `client_address` is an IPv4 address or the /64 of an IPv6 address. `actor` is the operator who
    did it, or None for the user. `request_id` is that of the request, as the log has it.
    """

    id: UUID
    at: datetime
    event: str
    reason: str | None
    user_id: UUID | None
    new_user_id: UUID | None
    session_id: UUID | None
    appid: str | None
    client_address: str | None
    user_agent: str | None
    count: int
    actor: str | None
    request_id: str | None = None
    openids: Mapping[str, str] | None = None
    """Of who was deleted, by appid; for a while only (``user.deleted``)."""


FACTS: Final = tuple(field.name for field in fields(Event))
"""What an event consists of; its columns have these names, too."""

EVENT_COLUMNS: Final = tuple(audit_events.c[name] for name in FACTS)
