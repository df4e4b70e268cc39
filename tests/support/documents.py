"""What the documents show, for tests that do what they say: the README, and the pages of docs/."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.service import ROOT


@dataclass(frozen=True)
class Document:
    """One document in its two languages."""

    name: str
    english: Path
    chinese: Path

    def __str__(self) -> str:
        """Return what pytest calls it."""
        return self.name


README: Final = Document("README", ROOT / "README.md", ROOT / "README.zh-CN.md")
CLIENT: Final = Document(
    "miniprogram", ROOT / "miniprogram" / "README.md", ROOT / "miniprogram" / "README.zh-CN.md"
)
_ENGLISH: Final = ROOT / "docs" / "en"
_CHINESE: Final = ROOT / "docs" / "zh"
PAGES: Final = [
    Document(path.stem, path, _CHINESE / path.name) for path in sorted(_ENGLISH.glob("*.md"))
]


def page(name: str) -> Document:
    """Return the page of that name."""
    (found,) = (page for page in PAGES if page.name == name)
    return found


def blocks(path: Path, language: str = r"\w+") -> list[str]:
    """Return the fenced blocks of that language, a pattern."""
    text = path.read_text(encoding="utf-8")
    found = re.findall(rf"^```(?:{language})\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [str(block) for block in found]


def block_with(words: str, language: str) -> str:
    """Return the one block of all pages, of that language, that has these words."""
    shown = (block for page in PAGES for block in blocks(page.english, language))
    (block,) = (block for block in shown if words in block)
    return block
