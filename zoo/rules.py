"""Ranges and rules between arguments, as the schema carries them: held against values, and put into words.

Imports nothing, so that the command line can answer before anything else is loaded.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

# Ranges, in the words of JSON Schema ------------------------------------------------------------------------------


def within(value: Any, expected: Mapping[str, Any]) -> bool:
    """Whether a number or text is in the range. NaN and infinity are in none."""
    if isinstance(value, str):
        return re.fullmatch(expected.get("pattern", "(?s:.*)"), value) is not None
    return (
        (abs(value) != math.inf or not in_words(expected))
        and value >= expected.get("minimum", value)
        and value <= expected.get("maximum", value)
        and ("exclusiveMinimum" not in expected or value > expected["exclusiveMinimum"])
        and ("exclusiveMaximum" not in expected or value < expected["exclusiveMaximum"])
    )


def in_words(expected: Mapping[str, Any]) -> str:
    """A range as a line says it: from 1, between 0 and 1, above 0; "" for none."""
    low, high = expected.get("minimum"), expected.get("maximum")
    above, below = expected.get("exclusiveMinimum"), expected.get("exclusiveMaximum")
    if None not in (low, high) or None not in (above, below):
        return f"{'from' if low is not None else 'between'} {low if low is not None else above} " + (
            f"to {high}" if low is not None else f"and {below}"
        )
    if "x-words" in expected:
        return str(expected["x-words"])
    words = [("from", low), ("above", above), ("up to", high), ("below", below)]
    return " and ".join(f"{word} {bound}" for word, bound in words if bound is not None)


# Samples --------------------------------------------------------------------------------------------------------


def apart(takes: Collection[str], yields: Collection[str]) -> bool:
    """Whether a task and data do not go together, by the classes of their samples; False where one does not say."""
    return bool(takes and yields) and not {*takes} & {*yields}


def kinds(samples: Iterable[str]) -> str:
    """TextSample, ChatSample: "text or chat samples"."""
    *first, last = [name.removesuffix("Sample").lower() for name in samples]
    return f"{', '.join(first)}{' or ' if first else ''}{last} samples"


# Rules ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExactlyOne:
    """One of two arguments is set.

    Args:
        given: only where this one is set too.
    """

    names: tuple[str, str]
    about: str
    given: str = ""

    def broken(self, values: Mapping[str, Any], prefix: str = "") -> str:
        if (self.given and not _is_set(values[self.given])) or sum(_is_set(values[name]) for name in self.names) == 1:
            return ""
        first, second = (f"{prefix}{name}" for name in self.names)
        return f"{f'with {prefix}{self.given}, ' if self.given else ''}set one of {first} and {second}; {self.about}"


@dataclass(frozen=True)
class AtLeastOne:
    """One of the arguments is set, or more."""

    names: tuple[str, ...]
    about: str

    def broken(self, values: Mapping[str, Any], prefix: str = "") -> str:
        if any(_is_set(values[name]) for name in self.names):
            return ""
        return f"neither {' nor '.join(f'{prefix}{name}' for name in self.names)} is set; {self.about}"


@dataclass(frozen=True)
class AtMostOne:
    """The arguments exclude each other."""

    names: tuple[str, str]
    about: str

    def broken(self, values: Mapping[str, Any], prefix: str = "") -> str:
        if sum(_is_set(values[name]) for name in self.names) <= 1:
            return ""
        return f"set at most one of {' and '.join(f'{prefix}{name}' for name in self.names)}; {self.about}"


@dataclass(frozen=True)
class Needs:
    """The first argument goes with the second only."""

    names: tuple[str, str]
    about: str

    def broken(self, values: Mapping[str, Any], prefix: str = "") -> str:
        (first, second), (has_first, has_second) = self.names, (_is_set(values[name]) for name in self.names)
        return f"{prefix}{first} needs {prefix}{second}; {self.about}" if has_first and not has_second else ""


@dataclass(frozen=True)
class AtMost:
    """The first argument is not larger than the second."""

    names: tuple[str, str]

    def broken(self, values: Mapping[str, Any], prefix: str = "") -> str:
        (small, large), (first, second) = (values[name] for name in self.names), self.names
        if not _are_numbers(small, large) or small <= large:
            return ""
        return f"{prefix}{first} is {small} and {prefix}{second} is {large}; expected {first} up to {second}"


@dataclass(frozen=True)
class SumBelow:
    """The arguments together are below a number."""

    names: tuple[str, ...]
    limit: float

    def broken(self, values: Mapping[str, Any], prefix: str = "") -> str:
        shares = [values[name] for name in self.names]
        if not _are_numbers(*shares) or sum(shares) < self.limit:
            return ""
        found = " and ".join(f"{prefix}{name} is {values[name]}" for name in self.names)
        return f"{found}; expected less than {self.limit:g} together"


Rule = ExactlyOne | AtLeastOne | AtMostOne | Needs | AtMost | SumBelow


def as_json(rule: Rule) -> dict[str, Any]:
    return {"rule": type(rule).__name__, **asdict(rule)}


def from_json(content: Mapping[str, Any]) -> Rule:
    return globals()[content["rule"]](**{name: value for name, value in content.items() if name != "rule"})


def arguments(rule: Rule) -> list[str]:
    """Every argument that a rule looks at."""
    return [*rule.names, *([rule.given] if isinstance(rule, ExactlyOne) and rule.given else [])]


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(value, (int, float)) for value in values)


def _is_set(value: Any) -> bool:
    return value is not None and value != -1  # -1 is Lightning's word for no limit
