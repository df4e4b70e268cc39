"""API keys: which back end asks, and what it may ask for."""

import hashlib
import hmac
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from wxsession.accounts.throttle import Throttle
from wxsession.errors import InsufficientScope, InvalidApiKey, Overloaded
from wxsession.events.audit import Audit
from wxsession.settings import ApiKey
from wxsession.users.client import ClientInfo


@dataclass(frozen=True, slots=True)
class BackEnd:
    """The holder of an API key: its name in the settings, and the scopes of the key."""

    name: str
    scopes: frozenset[str]

    def ensure(self, scope: str) -> None:
        """Return if the key has this scope.

        Raises:
            InsufficientScope: it does not.
        """
        if scope not in self.scopes:
            raise InsufficientScope(scope)


class ApiKeys:
    """Knows the back ends by their keys; `keys` are those of the settings, by name.

    Wrong keys are counted by address, in the audit and in a limit. The limit does not refuse a key
    that is right: a key is too long to be guessed, and whoever shares an address with a back end,
    a proxy's or a carrier's, must not be able to shut it out.
    """

    def __init__(self, keys: Mapping[str, ApiKey], throttle: Throttle, audit: Audit) -> None:
        self._known = [(BackEnd(name, one.scopes), _hash(one.key)) for name, one in keys.items()]
        self._throttle = throttle
        self._audit = audit

    def holder(self, name: str | None, key: str, client: ClientInfo) -> BackEnd:
        """Return the back end that holds `key`; with a `name`, it has to be the one of that name.

        Raises:
            InvalidApiKey: the key is none, or another back end's.
            TooManyAttempts: the same, and many were so from this address.
        """
        if (found := self.find(name, key)) is not None:
            return found
        self.note_refusal(client)
        with suppress(Overloaded):
            self._throttle.count_api_key(client)
        raise InvalidApiKey

    def find(self, name: str | None, key: str) -> BackEnd | None:
        """Return the back end that holds `key` and has this name, if one is given."""
        # Hashes have one length, and every one is compared: the time that this takes tells
        # neither how much of a key was right nor how long it is nor whose it is.
        hash_ = _hash(key)
        holders = [one for one, known in self._known if hmac.compare_digest(known, hash_)]
        # There is at most one: the settings have no key twice.
        return next((one for one in holders if name in {None, one.name}), None)

    def note_refusal(self, client: ClientInfo) -> None:
        """Count in the audit that a request without a usable API key was refused."""
        self._audit.count("api_key.refused", client)


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
