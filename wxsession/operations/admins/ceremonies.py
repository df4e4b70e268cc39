"""What WebAuthn prescribes, by the package of that name: nothing of ours is decided here.

Loading it takes a third of a second, so whoever needs it imports this module when that is so.
Whatever is wrong with a response is a `ValueError`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from uuid import UUID

import webauthn
from webauthn.helpers import (
    options_to_json,
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

_REQUIRED = UserVerificationRequirement.REQUIRED


class Site(NamedTuple):
    """Where a browser shows the console: its host, and the origins that it may say."""

    host: str
    origins: tuple[str, ...]


class Credential(NamedTuple):
    """A passkey as this server knows it."""

    id: bytes
    public_key: bytes
    sign_count: int


def registration_options(
    site: Site, user_id: UUID, name: str, challenge: bytes, known: Sequence[bytes]
) -> str:
    """Return by what a browser makes a passkey, as JSON; `known` ones are not made again."""
    return options_to_json(
        webauthn.generate_registration_options(
            rp_id=site.host,
            rp_name="wxsession",
            user_id=user_id.bytes,
            user_name=name,
            challenge=challenge,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=_REQUIRED
            ),
            exclude_credentials=[PublicKeyCredentialDescriptor(id=one) for one in known],
        )
    )


def registered(response: str, site: Site, challenge: bytes) -> Credential:
    """Return the passkey that a browser has made for a challenge.

    Raises:
        ValueError: it has not.
    """
    with _faults():
        made = webauthn.verify_registration_response(
            credential=response,
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=list(site.origins),
            require_user_verification=True,
        )
    return Credential(made.credential_id, made.credential_public_key, made.sign_count)


def authentication_options(site: Site, challenge: bytes) -> str:
    """Return by what a browser finds a passkey for a site, as JSON."""
    return options_to_json(
        webauthn.generate_authentication_options(
            rp_id=site.host, challenge=challenge, user_verification=_REQUIRED
        )
    )


def responding(response: str) -> bytes:
    """Return the id of the passkey that a response says it is of.

    Raises:
        ValueError: the response is malformed.
    """
    with _faults():
        return parse_authentication_credential_json(response).raw_id


def sign_count_of(response: str, site: Site, challenge: bytes, credential: Credential) -> int:
    """Return how often a passkey was used, having verified its response to a challenge.

    Raises:
        ValueError: it is not its response.
    """
    with _faults():
        return webauthn.verify_authentication_response(
            credential=response,
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=list(site.origins),
            credential_public_key=credential.public_key,
            credential_current_sign_count=credential.sign_count,
            require_user_verification=True,
        ).new_sign_count


def challenge_in(response: str, *, is_registration: bool) -> bytes:
    """Return the challenge that a response says it is to; nothing is verified yet.

    Raises:
        ValueError: the response is malformed.
    """
    with _faults():
        said = (
            parse_registration_credential_json(response).response.client_data_json
            if is_registration
            else parse_authentication_credential_json(response).response.client_data_json
        )
        return parse_client_data_json(said).challenge


@contextmanager
def _faults() -> Iterator[None]:
    """Turn whatever the package raises of a malformed response into a `ValueError`."""
    try:
        yield
    except (WebAuthnException, ArithmeticError, LookupError, TypeError, RecursionError) as fault:
        raise ValueError(type(fault).__name__) from fault
