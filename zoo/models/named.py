"""Classes of diffusers by their names, and those of a user's own by their class paths."""

import difflib
import importlib
import inspect
from typing import Any

import diffusers

from zoo.errors import ConfigError
from zoo.files import trust


def class_named(name: str, base: type, key: str) -> type:
    """A class of diffusers (UNet2DModel), or of a Python file in this folder (my_lab.MyNetwork).

    Args:
        base: what it must inherit from.
        key: the setting that names it.

    Raises:
        ConfigError: there is none, or it is none that a config may name.
    """
    if "." in name:
        module, _, last = name.rpartition(".")
        if not trust.is_own(module):
            raise ConfigError(
                f"{key}.name is {name}. Name a class of diffusers, or one of a Python file in this folder."
            )
        found = getattr(importlib.import_module(module), last, None)
    else:
        found = getattr(diffusers, name, None) if name in dir(diffusers) else None
    if not (inspect.isclass(found) and issubclass(found, base)):
        known = [one for one in dir(diffusers) if one[0].isupper()]
        near = difflib.get_close_matches(name, known, 1)
        raise ConfigError(
            f"{key}.name is {name!r}, which is no {base.__name__} of diffusers"
            + (f"; did you mean {near[0]}?" if near else ".")
        )
    return found


def settings_of(cls: type, given: dict[str, Any], key: str) -> set[str]:
    """The settings that a class takes.

    Raises:
        ConfigError: one of those given is none.
    """
    known = {*inspect.signature(cls).parameters} - {"args", "kwargs"}
    for name in given.keys() - known:
        near = difflib.get_close_matches(name, known, 1)
        raise ConfigError(
            f"{key}.{name}: {cls.__name__} has no such setting" + (f"; did you mean {near[0]}?" if near else ".")
        )
    return known
