"""Makes the file of common passwords that may not be taken.

::

    npm pack @zxcvbn-ts/language-common && tar xzf zxcvbn-ts-language-common-*.tgz
    python -m scripts.common_passwords package/src/passwords.json

The lists of zxcvbn and Django are those of the installed packages.
"""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import django.contrib.auth
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from wxsession.accounts.common_passwords import FILE, file_of
from wxsession.accounts.passwords import SHORTEST_PASSWORD, normalised_username


def installed() -> Iterator[str]:
    """Yield the passwords that the lists of the installed packages have."""
    yield from FREQUENCY_LISTS["passwords"]
    path = Path(django.contrib.auth.__file__).with_name("common-passwords.txt.gz")
    yield from gzip.decompress(path.read_bytes()).decode().split("\n")


def long_enough(passwords: Iterator[str]) -> set[str]:
    """Return those that would be accepted otherwise, folded."""
    folded = (normalised_username(password) for password in passwords)
    return {password for password in folded if len(password) >= SHORTEST_PASSWORD}


def main() -> None:
    """Make it."""
    with Path(sys.argv[1]).open(encoding="utf-8") as file:
        common = long_enough(installed()) | long_enough(iter(json.load(file)))
    FILE.write_bytes(file_of(common))
    sys.stdout.write(f"{FILE}: {len(common)} passwords, {FILE.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
