"""Objects that remember what they were made with, so that a config can say it."""

import inspect
from functools import wraps
from typing import Any


class Recorded:
    """Base of what a config names. `made_with` has the arguments of an object's constructor, by name.

    Those of the class that was called, whatever it passes on to its bases. What has a default and was not given is not
    in it.
    """

    made_with: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            _record(cls)


def _record(cls: Any) -> None:
    construct = cls.__init__
    signature = inspect.signature(construct)

    @wraps(construct)
    def construct_recorded(self: Any, *args: Any, **kwargs: Any) -> None:
        if "made_with" not in vars(self):  # else a base's constructor, or one that is called again
            vars(self)["made_with"] = _by_name(signature, self, args, kwargs)
        construct(self, *args, **kwargs)

    cls.__init__ = construct_recorded


def _by_name(signature: inspect.Signature, made: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        given = signature.bind(made, *args, **kwargs).arguments
    except TypeError:  # the constructor itself says what is wrong
        return {}
    found: dict[str, Any] = {}
    for name, value in [*given.items()][1:]:
        kind = signature.parameters[name].kind
        found |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    return found
