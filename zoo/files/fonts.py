"""Texts in drawn images, in whatever script: fonts that have their characters, else a spelling in Latin letters."""

import sys
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

_USUAL = "DejaVu Sans"
"""Comes with matplotlib."""
_PLACEHOLDERS = ("LastResort", "Emoji")
"""In the names of fonts that have a box for every character, or colours that are not drawn."""
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")
_SHOWN = 10
_said: set[str] = set()
"""Characters that a line has been printed about."""


def lettering(texts: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Texts as they can be drawn, and the properties of matplotlib's texts that draw them.

    Where no font of this machine has the characters of a text, the text is spelt in ASCII, and a line says so.
    """
    families, missing = _families("".join(sorted({c for text in texts for c in text if _has_glyph(c)})))
    if not missing <= _said:
        _said.update(missing)
        shown = "".join(sorted(missing))[:_SHOWN]
        package = "fonts-noto-cjk" if any(_is_east_asian(c) for c in missing) else "fonts-noto-core"
        print(
            f"images: no font here has {shown}, so texts with such characters are spelt in Latin letters "
            f"({_spelt(shown)}). A font for them on Debian or Ubuntu: sudo apt install {package}",
            file=sys.stderr,
        )
    drawn = [_spelt(text) if missing & {*text} else text for text in texts]
    return drawn, {"fontfamily": families, "parse_math": False}


@cache
def _families(needed: str) -> tuple[list[str], set[str]]:
    """As few fonts as have these characters, and the characters that none has."""
    from matplotlib import font_manager

    left = {*needed} - _characters(Path(font_manager.findfont(_USUAL)))
    families, fonts = [_USUAL], _fonts() if left else []
    while left:
        best = max(
            fonts, key=lambda font: (len(left & _characters(font)), _is_plain(font), -len(font.stem)), default=None
        )
        if best is None or not left & _characters(best):
            break
        font_manager.fontManager.addfont(best)
        families.append(font_manager.FontProperties(fname=best).get_name())
        left -= _characters(best)
    return families, left


def _fonts() -> list[Path]:
    """Fonts of this machine."""
    from matplotlib import font_manager

    known = [Path(font.fname) for font in font_manager.fontManager.ttflist]
    found = sorted({*known, *map(Path, font_manager.findSystemFonts())})
    return [path for path in found if not any(word in path.stem for word in _PLACEHOLDERS)]


@cache
def _characters(font: Path) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    try:
        found = FT2Font(str(font))
        return frozenset(map(chr, found.get_charmap())) if found.scalable else frozenset()
    except (OSError, RuntimeError):  # a damaged file
        return frozenset()


def _is_plain(font: Path) -> int:
    return ("Regular" in font.stem) + ("Sans" in font.stem)


def _has_glyph(character: str) -> bool:
    """Not blanks, nor what only joins or parts its neighbours."""
    return unicodedata.category(character)[0] not in "CZ"


def _is_east_asian(character: str) -> bool:
    return unicodedata.name(character, "").startswith(_EAST_ASIAN)


def _spelt(text: str) -> str:
    from anyascii import anyascii

    return anyascii(text)
