"""Session tokens: nothing but what was signed here, in exactly one spelling, is one."""

import base64
import hashlib
import hmac
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxsession.common.crypto import SecretKeys
from wxsession.errors import InvalidToken
from wxsession.sessions.tokens import SessionToken, TokenSigner
from wxsession.storage.database import new_id

OLD, NEW, FOREIGN = ("old-" * 10, "new-" * 10, "foreign-" * 5)
SIGNER = TokenSigner(SecretKeys([OLD, NEW]))
TOKEN = SIGNER.draw(new_id())
TEXT = SIGNER.dump(TOKEN)
ALPHABET = string.ascii_letters + string.digits + "-_."


def refused(text: str) -> bool:
    try:
        SIGNER.load(text)
    except InvalidToken:
        return True
    return False


def _bytes_of(spelling: str) -> bytes | None:
    """Return what a reader of base64 makes of a text."""
    try:
        return base64.urlsafe_b64decode(spelling + "=" * (-len(spelling) % 4))
    except ValueError:
        return None


def test_a_token_comes_back_as_it_went() -> None:
    assert SIGNER.load(TEXT) == TOKEN
    assert len(TEXT) == 112
    assert TEXT.startswith("wxs_")


def test_a_secret_has_256_bits_and_is_never_drawn_twice() -> None:
    drawn = {SIGNER.draw(TOKEN.session_id).secret for _ in range(1000)}
    assert len(drawn) == 1000
    assert {len(secret) for secret in drawn} == {32}


def test_behind_the_prefix_it_is_a_payload_and_its_hmac() -> None:
    newest = SecretKeys([OLD, NEW]).derive("session token signature")[-1]
    payload = base64.urlsafe_b64encode(TOKEN.key + TOKEN.secret)
    signature = base64.urlsafe_b64encode(hmac.digest(newest, payload, "sha256"))
    assert f"wxs_{payload.decode()}.{signature.rstrip(b'=').decode()}" == TEXT


def test_a_token_of_the_first_release_is_still_one() -> None:
    token = SessionToken(bytes(range(16)), bytes(range(100, 132)))
    text = (
        "wxs_AAECAwQFBgcICQoLDA0OD2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn-AgYKD"
        ".TvAluHLr-7UrVj92ozrH409ZZNYGLT7S7mM-pas3FWw"
    )
    assert SIGNER.load(text) == token
    assert SIGNER.dump(token) == text
    successor = "1457c0f35b116e350b356c6bc1cd481c7238b26afeb439f55e671fd7ab8983e2"
    assert SIGNER.successors(token)[0].secret.hex() == successor


def test_another_spelling_of_the_same_bytes_is_none() -> None:
    payload, signature = TEXT.removeprefix("wxs_").split(".")
    stored = base64.urlsafe_b64decode(f"{signature}=")
    others = [signature[:-1] + last for last in ALPHABET if last != signature[-1]]
    others += [signature.replace("-", "+"), signature.replace("_", "/"), f"{signature}="]
    alike = [other for other in others if other != signature and _bytes_of(other) == stored]
    assert len(alike) >= 3  # those that differ in the bits that do not count
    assert all(refused(f"wxs_{payload}.{other}") for other in alike)


def test_the_stored_hash_is_sha_256_of_the_secret() -> None:
    assert TOKEN.hash == hashlib.sha256(TOKEN.secret).digest()
    assert TOKEN.is_hashed_as(TOKEN.hash)
    assert not TOKEN.is_hashed_as(bytes(32))


def test_neither_secret_nor_text_shows_when_a_token_is_printed() -> None:
    shown = repr(TOKEN) + str(TOKEN) + repr(SIGNER) + repr(SecretKeys([OLD]))
    assert TOKEN.secret.hex() not in shown
    assert repr(TOKEN.secret) not in shown
    assert OLD not in shown


@given(st.text(max_size=200))
def test_any_text_is_refused(text: str) -> None:
    assert refused(text)


@pytest.mark.parametrize("character", ["\ud800", "ü", "\0", "A", "."], ids=ascii)
def test_whatever_is_as_long_as_a_token_is_refused(character: str) -> None:
    assert refused("wxs_" + character * 108)


@given(st.text(alphabet=ALPHABET, min_size=108, max_size=108))
def test_any_text_of_the_right_shape_is_refused(text: str) -> None:
    assert refused("wxs_" + text)


@given(st.integers(0, len(TEXT) - 1), st.characters(max_codepoint=0x2FF))
def test_no_character_may_be_another(place: int, other: str) -> None:
    changed = TEXT[:place] + other + TEXT[place + 1 :]
    assert refused(changed) == (changed != TEXT)


@given(st.integers(0, len(TEXT) - 1), st.text(min_size=1, max_size=5))
def test_nothing_may_be_cut_or_added(place: int, more: str) -> None:
    assert refused(TEXT[:place])
    assert refused(TEXT[place:] if place else "")
    assert refused(TEXT + more)
    assert refused(more + TEXT)
    assert refused(TEXT[:place] + more + TEXT[place:])


def test_halves_of_two_tokens_are_none() -> None:
    other = SIGNER.dump(SIGNER.draw(new_id()))
    payload, signature = TEXT.split(".")
    other_payload, other_signature = other.split(".")
    assert refused(f"{payload}.{other_signature}")
    assert refused(f"{other_payload}.{signature}")


def test_every_key_is_accepted_and_the_newest_signs() -> None:
    by_old = TokenSigner(SecretKeys([OLD])).dump(TOKEN)
    by_new = TokenSigner(SecretKeys([NEW])).dump(TOKEN)
    by_foreign = TokenSigner(SecretKeys([FOREIGN])).dump(TOKEN)
    assert by_new == TEXT != by_old
    assert SIGNER.load(by_old) == TOKEN
    assert refused(by_foreign)


def test_the_next_token_is_derived_under_the_newest_key_and_found_under_any() -> None:
    old_successor = TokenSigner(SecretKeys([OLD])).successors(TOKEN)[0]
    new_successor = TokenSigner(SecretKeys([NEW])).successors(TOKEN)[0]
    assert SIGNER.successors(TOKEN) == (new_successor, old_successor)
    assert SIGNER.successors(TOKEN) == SIGNER.successors(TOKEN)
    assert new_successor.session_id == TOKEN.session_id


def test_the_successor_depends_on_the_session_too() -> None:
    elsewhere = SessionToken(new_id().bytes, TOKEN.secret)
    assert SIGNER.successors(elsewhere)[0].secret != SIGNER.successors(TOKEN)[0].secret


def test_ids_are_uuid7_in_order_of_time_and_beyond_guessing() -> None:
    made = [new_id() for _ in range(1000)]
    assert {(id_.version, id_.variant) for id_ in made} == {(7, "specified in RFC 4122")}
    assert len({id_.int & (1 << 62) - 1 for id_ in made}) == 1000
    assert [id_.int >> 80 for id_ in made] == sorted(id_.int >> 80 for id_ in made)


@pytest.mark.parametrize(
    "text", ["", "wxs_", "wxs_.", "." * 112, TEXT.upper(), f" {TEXT}", f"{TEXT}\n"]
)
def test_what_only_looks_like_one_is_refused(text: str) -> None:
    assert refused(text)


def test_the_last_character_has_one_spelling_although_it_holds_four_bits() -> None:
    others = set(ALPHABET) - {TEXT[-1]}
    assert [other for other in others if not refused(TEXT[:-1] + other)] == []


def test_padding_is_another_spelling_and_refused() -> None:
    payload, signature = TEXT.split(".")
    assert refused(f"{payload}.{signature}=")
    raw = base64.urlsafe_b64decode(signature + "=")
    assert refused(f"{payload}.{base64.b64encode(raw).decode()}")
