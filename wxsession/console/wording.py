"""What the pages say, in Chinese: the English text is the key, and stands where it is used.

A test finds a Chinese text for whatever the templates say.
"""

from collections.abc import Mapping
from typing import Final

from wxsession.wording import in_language

IN_CHINESE: Final[Mapping[str, str]] = {}

REASONS: Final[Mapping[str, str]] = {}
"""Why something happened, as an event or a session has it."""


def say(language: str, text: str, **values: object) -> str:
    """Return a text in a language, with these values in it; in English if it is not known there."""
    said = IN_CHINESE.get(text, text) if language == "zh" else text
    said = in_language(said, language) if said == text else said
    return said.format(**values) if values else said


def reason(language: str, code: str) -> str:
    """Return why something happened, in words; a code that has none stays as it is."""
    return say(language, REASONS[code]) if code in REASONS else code
