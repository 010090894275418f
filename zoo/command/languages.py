"""In which script and language a text is, as far as a choice of weights depends on it."""

import unicodedata
from collections import Counter

_LOOKED_AT = 20_000
_FEW = 8
"""Different words from which a language can be told."""
_ENGLISH = frozenset(
    [
        "the",
        "of",
        "and",
        "to",
        "in",
        "is",
        "that",
        "it",
        "was",
        "for",
        "on",
        "with",
        "as",
        "at",
        "by",
        "this",
        "be",
        "are",
        "not",
        "you",
        "he",
        "his",
        "i",
        "have",
    ]
)
_ENGLISH_SHARE = 0.08
"""Of the words; English prose has a quarter, German and French texts about a fiftieth."""


def script(text: str) -> str:
    """LATIN, DEVANAGARI, CYRILLIC, ARABIC, CJK …: that of most letters; "" without letters."""
    letters = [c for c in text[:_LOOKED_AT] if c.isalpha()]
    counted = Counter(unicodedata.name(c, "").partition(" ")[0] for c in letters)
    return counted.most_common(1)[0][0] if counted else ""


ENGLISH, CODE = "English", "source code"


def name(text: str) -> str:
    """English, another language (in Latin letters), or a script; "" where there are no words."""
    found = script(text)
    if found not in ("LATIN", ""):
        return {"CJK": "Chinese characters"}.get(found, f"the {found.capitalize()} script")
    words = [word for word in text[:_LOOKED_AT].lower().split() if any(c.isalpha() for c in word)]
    common = sum(word.strip(".,;:!?\"'()") in _ENGLISH for word in words)
    return (
        ""
        if len({*words}) < _FEW
        else ENGLISH
        if common >= _ENGLISH_SHARE * len(words)
        else "a language other than English"
    )
