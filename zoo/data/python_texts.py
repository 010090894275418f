"""Texts that Python packages carry, so that a first run needs no download."""

import importlib
import unicodedata
from collections import Counter

from zoo.errors import MissingInputError
from zoo.files import trust

NAMES = "babel.names"
LANGUAGES = {
    "ar": "Arabic", "as": "Assamese", "bn": "Bengali", "bg": "Bulgarian", "zh": "Chinese", "en": "English",
    "fr": "French", "de": "German", "gu": "Gujarati", "hi": "Hindi", "it": "Italian", "ja": "Japanese",
    "kn": "Kannada", "ml": "Malayalam", "mr": "Marathi", "ne": "Nepali", "fa": "Persian", "pt": "Portuguese",
    "pa": "Punjabi", "ru": "Russian", "es": "Spanish", "ta": "Tamil", "te": "Telugu", "uk": "Ukrainian", "ur": "Urdu",
}  # fmt: skip
"""In thirteen scripts. Several are written by more than one of them: Devanagari by Hindi, Marathi and Nepali."""


def texts(module: str) -> list[str]:
    """The texts of a module's `topics`, in the order of their names.

    Raises:
        ConfigError: a config may not name this module.
        MissingInputError: this Python has no such module.
    """
    trust.check_source(module, "pydoc_data.topics")
    try:
        topics = importlib.import_module(module).topics
    except (ImportError, AttributeError) as error:
        raise MissingInputError(f"python:{module}: no such texts in this Python ({error}).") from error
    return _without_repeats([topics[name] for name in sorted(topics)])


def names() -> list[tuple[str, str]]:
    """Names of languages, countries, currencies, scripts and cities, each with the language that it is in.

    A name that several of the languages have in common says nothing of its language, and is left out.

    Source: Unicode's Common Locale Data Repository, as the package babel carries it.
    """
    from babel import Locale

    found: list[tuple[str, str]] = []
    for code, language in LANGUAGES.items():
        locale = Locale(code)
        kinds = (locale.languages, locale.territories, locale.currencies, locale.scripts)
        written = {name for kind in kinds for name in kind.values()}
        written |= {zone["city"] for zone in locale.time_zones.values() if "city" in zone}
        found += [(name, language) for name in sorted(written) if sum(map(_is_letter, name)) > 1]
    common = Counter(name.casefold() for name, _ in found)
    return [(name, language) for name, language in found if common[name.casefold()] == 1]


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] == "L"


def _without_repeats(texts: list[str]) -> list[str]:
    """The texts whose lines are not nearly all in longer ones too, in their order.

    A third of the manual's topics are sections of others: held out, they would only ask what was learnt by heart.
    """
    seen: set[str] = set()
    kept = set()
    for i in sorted(range(len(texts)), key=lambda i: -len(texts[i])):
        lines = {line.strip() for line in texts[i].splitlines()}
        if len(lines - seen) > 0.1 * len(lines):
            kept.add(i)
            seen |= lines
    return [texts[i] for i in sorted(kept)]
