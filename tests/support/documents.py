"""What the README shows, for tests that do what it says."""

import re
from typing import Final

from tests.support.service import ROOT

ENGLISH: Final = "README.md"
CHINESE: Final = "README.zh-CN.md"


def blocks(name: str, language: str) -> list[str]:
    """Return the fenced blocks of that language."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [str(block) for block in found]


def block_with(words: str, language: str) -> str:
    """Return the one block of the README of that language that has these words."""
    (block,) = (block for block in blocks(ENGLISH, language) if words in block)
    return block
