"""Invisible characters: with them, a name looks like another name, or empty."""

import unicodedata

# Default_Ignorable_Code_Point, which `unicodedata` lacks. New versions of Unicode only add to it.
# Source: DerivedCoreProperties.txt of Unicode 16.0.0.
_IGNORABLE = (
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160)),
    *((0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E)),
    *((0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)),
    (0xE0000, 0xE0FFF),
)
# Letters and symbols with an empty glyph: the Braille cell without dots, the null notehead, two
# blanks among the hieroglyphs, and the Khitan filler.
_BLANK = frozenset("\u2800\U0001d159\U00013441\U00013442\U00016fe4")
_WITHOUT_GLYPH = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_invisible(letter: str) -> bool:
    """Return whether a character alone shows nothing, as a blank does."""
    return (
        letter in _BLANK
        or unicodedata.category(letter) in _WITHOUT_GLYPH
        or any(first <= ord(letter) <= last for first, last in _IGNORABLE)
    )


def turns(text: str) -> bool:
    """Return whether a text has a character that changes the reading direction after it.

    Source: Bidi_Control in PropList.txt of Unicode 16.0.0.
    """
    return not _TURNING.isdisjoint(text)
