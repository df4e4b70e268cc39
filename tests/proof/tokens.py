"""Whatever is presented as a token is refused as one: no query is spent on it, and no 5xx.

The requests go through the whole WSGI application, without a server in between. What cannot
travel in a header is handed to the signer directly.
"""

import json
import random
import re
import secrets
import string
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from flask import Flask
from sqlalchemy import event
from werkzeug.test import create_environ, run_wsgi_app

from tests.proof.deployment import add_user, issue_token, services
from tests.proof.outcome import Outcome
from tests.proof.processes import CORES, in_processes
from tests.support.settings import SECRET_KEY, settings_for
from wxsession import create_app
from wxsession.common.crypto import SecretKeys
from wxsession.errors import InvalidToken, TokenError
from wxsession.services import EXTENSION, Services
from wxsession.sessions.tokens import PREFIX, SessionToken, TokenSigner

_CALLS = (
    ("GET", "/check_session"),
    ("POST", "/refresh"),
    ("GET", "/sessions"),
    ("POST", "/logout"),
)
_BASE64 = string.ascii_letters + string.digits + "-_"
_HEADER = re.compile(r"[ -~\x80-\xff]*")  # what a server lets through
_MAX_REPORTED = 20


@dataclass(frozen=True)
class Stolen:
    """What a thief may have: tokens of live sessions, which nobody must be able to vary."""

    tokens: Sequence[str]
    ours: TokenSigner
    theirs: TokenSigner


@dataclass(frozen=True)
class Share:
    """What one process tries."""

    database_url: str
    tokens: tuple[str, ...]
    seed: int
    size: int


Forger = Callable[[random.Random, Stolen], str]


def prove(database_url: str, size: int) -> Outcome:
    """Present so many forgeries to all calls that take a token."""
    seed = secrets.randbits(63)
    with services(database_url) as local:
        user = add_user(local.database)
        tokens = tuple(issue_token(local, user) for _ in range(4))
        shares = [
            Share(database_url, tokens, seed + core, size // CORES + 1) for core in range(CORES)
        ]
        violations = [failure for found in in_processes(_present, shares) for failure in found]
        if ended := sum(not _is_live(local, token) for token in tokens):
            violations.append(f"the noise has ended {ended} sessions")
    tried = sum(share.size for share in shares)
    return Outcome(tried, tuple(violations), f"seeds {seed} to {seed + CORES - 1}")


def _is_live(local: Services, token: str) -> bool:
    try:
        local.sessions.check(token)
    except TokenError:
        return False
    return True


def _present(share: Share) -> list[str]:
    """Return what was not refused as it should be."""
    rng = random.Random(share.seed)  # noqa: S311 - so that a finding can be found again
    ours = TokenSigner(SecretKeys([SECRET_KEY]))
    theirs = TokenSigner(SecretKeys(["another-key-that-is-as-long-as-ours"]))
    stolen = Stolen(share.tokens, ours, theirs)
    app = create_app(settings_for(share.database_url))
    client = _Client(app)
    found: list[str] = []
    for _ in range(share.size):
        forger = rng.choice(_FORGERS)
        text = forger(rng, stolen)
        if text.strip(" \t") in stolen.tokens:  # no change, or one that HTTP takes away again
            continue
        queries = 1 if forger in _SIGNED else 0
        authorization = rng.choice(_SCHEMES)(text, rng.choice(stolen.tokens))
        if _HEADER.fullmatch(authorization):
            failure = client.failure(rng.choice(_CALLS), authorization, queries)
        else:
            failure = _signer_failure(ours, text)
        if failure:
            found.append(f"{failure}: {forger.__name__}, seed {share.seed}, {authorization!a}")
    client.close()
    return found[:_MAX_REPORTED]


class _Client:
    """The application as a server calls it, and how many queries it makes."""

    def __init__(self, app: Flask) -> None:
        services: Services = app.extensions[EXTENSION]
        self._app = app
        self._database = services.database
        self._queries = 0
        self._environments = {
            call: create_environ(call[1], method=call[0], content_length=0) for call in _CALLS
        }
        event.listen(services.database.engine.pool, "checkout", self._count)

    def close(self) -> None:
        self._database.close()

    def failure(self, call: tuple[str, str], authorization: str, queries: int) -> str | None:
        """Present a forgery; return what is wrong with the answer."""
        self._queries = 0
        self._database.connections.release()  # so that each query has to check a connection out
        environ: dict[str, Any] = {
            **self._environments[call],
            "HTTP_AUTHORIZATION": authorization,
        }
        body, status, _ = run_wsgi_app(self._app.wsgi_app, environ, buffered=True)
        if self._queries > queries:
            return f"{self._queries} queries"
        if call[1] == "/logout" and status.startswith("204"):
            return None  # ending says the same for an unknown token
        if not status.startswith("401"):
            return status
        code = json.loads(b"".join(body))["code"]
        return None if code in {"missing_token", "invalid_token"} else str(code)

    def _count(self, *_: object) -> None:
        self._queries += 1


def _signer_failure(signer: TokenSigner, text: str) -> str | None:
    try:
        signer.load(text)
    except InvalidToken:
        return None
    except Exception as error:  # noqa: BLE001 - whatever else it is, it is a finding
        return f"{error!r}"
    return "taken"


_SCHEMES: Sequence[Callable[[str, str], str]] = (
    *[lambda forged, _real: f"Bearer {forged}"] * 8,
    lambda forged, _real: f"bEARER {forged}",
    lambda forged, _real: f"Bearer  {forged}",
    lambda _forged, real: f"Basic {real}",
    lambda _forged, real: f"Bearer{real}",
    lambda _forged, real: real,
    lambda _forged, _real: "Bearer",
)


# Forgeries without a good signature.


def noise(rng: random.Random, _stolen: Stolen) -> str:
    return rng.randbytes(rng.randrange(300)).decode("latin-1")


def printable(rng: random.Random, _stolen: Stolen) -> str:
    return "".join(rng.choices(string.printable, k=rng.randrange(200)))


def unicode(rng: random.Random, _stolen: Stolen) -> str:
    return "".join(chr(rng.randrange(0x11_0000)) for _ in range(rng.randrange(150)))


def well_shaped(rng: random.Random, _stolen: Stolen) -> str:
    return PREFIX + "".join(rng.choices(_BASE64, k=64)) + "." + "".join(rng.choices(_BASE64, k=43))


def cut(rng: random.Random, stolen: Stolen) -> str:
    token = rng.choice(stolen.tokens)
    return token[: rng.randrange(len(token))]


def cut_in_front(rng: random.Random, stolen: Stolen) -> str:
    token = rng.choice(stolen.tokens)
    return token[rng.randrange(1, len(token)) :]


def extended(rng: random.Random, stolen: Stolen) -> str:
    return rng.choice(stolen.tokens) + noise(rng, stolen)


def doubled(rng: random.Random, stolen: Stolen) -> str:
    return rng.choice(("", " ", ",", ", ", ".")).join(rng.choices(stolen.tokens, k=2))


def halves_swapped(rng: random.Random, stolen: Stolen) -> str:
    (payload, _), (_, signature) = (token.split(".") for token in rng.sample(stolen.tokens, 2))
    return f"{payload}.{signature}"


def id_swapped(rng: random.Random, stolen: Stolen) -> str:
    one, other = rng.sample(stolen.tokens, 2)
    end = len(PREFIX) + rng.randrange(1, 64)
    return one[:end] + other[end:]


def bit_flipped(rng: random.Random, stolen: Stolen) -> str:
    token = bytearray(rng.choice(stolen.tokens), "ascii")
    token[rng.randrange(len(token))] ^= 1 << rng.randrange(8)
    return token.decode("latin-1")


def letters_changed(rng: random.Random, stolen: Stolen) -> str:
    token = list(rng.choice(stolen.tokens))
    for _ in range(rng.randrange(1, 5)):
        token[rng.randrange(len(token))] = rng.choice(_BASE64)
    return "".join(token)


def last_letter_changed(rng: random.Random, stolen: Stolen) -> str:
    return rng.choice(stolen.tokens)[:-1] + rng.choice(_BASE64)


def letter_inserted(rng: random.Random, stolen: Stolen) -> str:
    token = rng.choice(stolen.tokens)
    place = rng.randrange(len(token))
    return token[:place] + rng.choice(string.printable) + token[place:]


def another_case(rng: random.Random, stolen: Stolen) -> str:
    return getattr(rng.choice(stolen.tokens), rng.choice(("upper", "lower", "swapcase")))()  # type: ignore[no-any-return]


def another_alphabet(rng: random.Random, stolen: Stolen) -> str:
    token = stolen.ours.load(rng.choice(stolen.tokens))
    raw = token.session_id.bytes + token.secret
    spelt = rng.choice((raw.hex(), b64encode(raw).decode() + "==", raw.decode("latin-1")))
    signature = b64encode(sha256(raw).digest()).decode()
    return f"{PREFIX}{spelt}.{signature}"


def another_separator(rng: random.Random, stolen: Stolen) -> str:
    return rng.choice(stolen.tokens).replace(".", rng.choice(":;~$ \t_-.") * rng.randrange(3))


def another_prefix(rng: random.Random, stolen: Stolen) -> str:
    prefix = rng.choice(("", "wxs", "wxs-", "WXS_", "wxs_wxs_", "Bearer wxs_", '"wxs_'))
    return prefix + rng.choice(stolen.tokens).removeprefix(PREFIX)


def full_width(rng: random.Random, stolen: Stolen) -> str:
    letters = [chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in rng.choice(stolen.tokens)]
    return "".join(letters)


def padded(rng: random.Random, stolen: Stolen) -> str:
    return rng.choice(stolen.tokens) + rng.choice(("=", "==", "\0", "%00", ";", "\\", '"'))


def signed_by_another_key(rng: random.Random, stolen: Stolen) -> str:
    return stolen.theirs.dump(stolen.ours.load(rng.choice(stolen.tokens)))


def stored_hash_unsigned(rng: random.Random, stolen: Stolen) -> str:
    token = stolen.ours.load(rng.choice(stolen.tokens))
    payload = urlsafe_b64encode(token.session_id.bytes + token.hash).decode()
    return f"{PREFIX}{payload}.{rng.choice(stolen.tokens).split('.')[1]}"


def endless(rng: random.Random, stolen: Stolen) -> str:
    return rng.choice((*stolen.tokens, PREFIX, "A", ".")) * rng.randrange(1, 80)


# Forgeries by somebody who stole the signing key: the signature is good, the secret is not.


def stored_hash_as_secret(rng: random.Random, stolen: Stolen) -> str:
    token = stolen.ours.load(rng.choice(stolen.tokens))
    return stolen.ours.dump(SessionToken(token.key, token.hash))


def secret_made_up(rng: random.Random, stolen: Stolen) -> str:
    token = stolen.ours.load(rng.choice(stolen.tokens))
    return stolen.ours.dump(SessionToken(token.key, rng.randbytes(32)))


def session_made_up(rng: random.Random, stolen: Stolen) -> str:
    token = stolen.ours.load(rng.choice(stolen.tokens))
    return stolen.ours.dump(SessionToken(rng.randbytes(16), token.secret))


def successor_made_early(rng: random.Random, stolen: Stolen) -> str:
    return stolen.ours.dump(
        stolen.theirs.successors(stolen.ours.load(rng.choice(stolen.tokens)))[0]
    )


_SIGNED: Sequence[Forger] = (
    stored_hash_as_secret,
    secret_made_up,
    session_made_up,
    successor_made_early,
)
_FORGERS: Sequence[Forger] = (
    noise,
    printable,
    unicode,
    well_shaped,
    cut,
    cut_in_front,
    extended,
    doubled,
    halves_swapped,
    id_swapped,
    bit_flipped,
    letters_changed,
    last_letter_changed,
    letter_inserted,
    another_case,
    another_alphabet,
    another_separator,
    another_prefix,
    full_width,
    padded,
    signed_by_another_key,
    stored_hash_unsigned,
    endless,
    *_SIGNED,
)
