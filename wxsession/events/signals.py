"""Signals: what happened, told to functions of the same process after the commit.

``@signals.user_merged.connect`` calls a function with the sender, which is the application, and
with ``event=``, an `Event`. It is called in the thread of the request or of the command, when the
database connection has been given back. What it raises is logged, and changes nothing: what
happened has happened. A process that is killed between the commit and the call has told nobody;
the feed has it all the same.
"""

import logging
from typing import Final

from blinker import NamedSignal, Namespace

from wxsession.events.event import Event

_namespace = Namespace()
_log = logging.getLogger(__name__)

user_created = _namespace.signal("user.created")
user_merged = _namespace.signal("user.merged")
user_split = _namespace.signal("user.split")
user_updated = _namespace.signal("user.updated")
user_disabled = _namespace.signal("user.disabled")
user_deleted = _namespace.signal("user.deleted")
user_enabled = _namespace.signal("user.enabled")
identity_bound = _namespace.signal("identity.bound")
identity_unbound = _namespace.signal("identity.unbound")
session_created = _namespace.signal("session.created")
session_ended = _namespace.signal("session.ended")
phone_number_set = _namespace.signal("phone_number.set")
password_changed = _namespace.signal("password.changed")

NAMES: Final = frozenset(_namespace)
"""The events that have a signal: those that change something, not the refusals."""


def is_heard(name: str) -> bool:
    """Return whether anybody listens to the signal of this event."""
    signal = _namespace.get(name)
    return signal is not None and bool(signal.receivers)


def send(sender: object, event: Event) -> None:
    """Call who listens to the signal of this event, one after the other."""
    signal: NamedSignal = _namespace[event.event]
    for receiver in signal.receivers_for(sender):
        try:
            receiver(sender, event=event)
        except Exception:  # noqa: BLE001 - it is not ours, and what happened has happened
            _log.exception("a receiver of %s failed; event %s", event.event, event.id)
