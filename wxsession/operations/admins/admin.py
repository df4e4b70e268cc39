"""An admin, and what a role is good for."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from wxsession.storage.tables import admins


class Role(StrEnum):
    """What an admin may do: a later one may do all that an earlier one may."""

    VIEWER = "viewer"
    """Look, and see no whole phone number."""
    SUPPORT = "support"
    """What helps a user, and can be undone."""
    OWNER = "owner"
    """Everything."""

    def covers(self, other: "Role") -> bool:
        """Return whether this role is enough where another one is asked for."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Admin:
    """Somebody who may use the console."""

    id: UUID
    name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None
    last_login_at: datetime | None


ADMIN_COLUMNS = (
    admins.c.id,
    admins.c.name,
    admins.c.role,
    admins.c.created_at,
    admins.c.disabled_at,
    admins.c.last_login_at,
)


def admin_from(row: Sequence[Any]) -> Admin:
    """Return the admin in a row that begins with `ADMIN_COLUMNS`."""
    id_, name, role, *rest = row[: len(ADMIN_COLUMNS)]
    return Admin(id_, name, Role(role), *rest)


def hash_of(secret: str) -> bytes:
    """Return what is stored of a random secret of 256 bits."""
    return hashlib.sha256(secret.encode()).digest()
