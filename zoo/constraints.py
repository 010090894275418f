"""Ranges as types in a constructor's signature, and `checked`, which holds the constructor to them.

They are declared, so that they are read without running anything: into the schema, and from there by the command line
and by editors. Rules between two arguments are the class attribute `rules` (rules.py).
"""

import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import wraps
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt

from zoo.errors import ConfigError
from zoo.rules import Rule, arguments, in_words, within

PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
ClosedUnitInterval = Annotated[float, Ge(0), Le(1)]
OpenUnitInterval = Annotated[float, Gt(0), Lt(1)]
PositiveShare = Annotated[float, Gt(0), Le(1)]
ShareBelowOne = Annotated[float, Ge(0), Lt(1)]

_KEYS = {Ge: ("minimum", "ge"), Gt: ("exclusiveMinimum", "gt"), Le: ("maximum", "le"), Lt: ("exclusiveMaximum", "lt")}
T = TypeVar("T", bound=type)


def limits(hint: Any) -> dict[str, Any]:
    """The range of an annotated type, as JSON Schema has it; {} for none.

    A pattern (re.compile) holds for the whole text; a text beside it says what it means.
    """
    found: dict[str, Any] = {}
    for mark in getattr(hint, "__metadata__", ()):
        if isinstance(mark, re.Pattern):
            found["pattern"] = f"^(?:{mark.pattern})$"
        elif isinstance(mark, str):
            found["x-words"] = mark
        elif type(mark) in _KEYS:
            key, attribute = _KEYS[type(mark)]
            found[key] = getattr(mark, attribute)
    return found


def checked(cls: T) -> T:
    """Have a class refuse arguments that its own constructor's signature, or its rules, exclude.

    Raises:
        ConfigError: when it is called, with the argument, what was found, and what is expected.
    """
    construct: Any = cls.__init__  # type: ignore[misc]
    signature, own_rules = inspect.signature(construct), vars(cls).get("rules", ())

    @wraps(construct)
    def construct_checked(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            given = signature.bind(self, *args, **kwargs)
        except TypeError:
            return construct(self, *args, **kwargs)  # which says what is missing
        given.apply_defaults()
        for line in _refused(cls, construct, given.arguments, own_rules):
            raise ConfigError(f"{line}.")
        return construct(self, *args, **kwargs)

    cls.__init__ = construct_checked  # type: ignore[misc]
    return cls


def _refused(cls: type, construct: Any, values: Mapping[str, Any], own_rules: Iterable[Rule]) -> Iterator[str]:
    for name, hint in typing.get_type_hints(construct, include_extras=True).items():
        branches = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else [hint]
        ranges = [found for branch in branches if (found := limits(branch))]
        if not ranges:
            continue
        value = values.get(name)
        is_limited = isinstance(value, str) if any("pattern" in found for found in ranges) else _is_number(value)
        is_named = any(value in typing.get_args(branch) for branch in branches)  # Literal[-1]
        if is_limited and not is_named and not any(within(value, found) for found in ranges):
            yield f"{cls.__name__}.{name} is {value!r}; expected {' or '.join(map(in_words, ranges))}"
    for rule in own_rules:
        if all(name in values for name in arguments(rule)) and (line := rule.broken(values, f"{cls.__name__}.")):
            yield line


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
