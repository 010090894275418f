"""What is wrong with settings: one line each, with where it stands and what comes nearest."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

SETTING, DATA, MISSING = 2, 65, 66


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Args:
        line: what, where, found, expected or nearest.
        code: exit code that it alone would lead to.
    """

    line: str
    code: int = SETTING


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """ "; did you mean …?" where one of the known words resembles it, else a full stop."""
    near = nearest_word(word, known)
    return f"; did you mean {prefix}{near}?" if near else "."


def nearest_word(word: str, known: Iterable[str]) -> str:
    names = sorted(set(known))
    same = {name.lower().replace("-", "_"): name for name in names}
    if (simple := word.lower().replace("-", "_")) in same:
        return same[simple]
    return next(iter(difflib.get_close_matches(word, names, 1, 0.6)), "")


def shown(value: object, longest: int = 60) -> str:
    """A value as it is quoted in a line: text in quotes, the rest as YAML has it."""
    named = {None: "null", True: "true", False: "false"}
    text = named[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
