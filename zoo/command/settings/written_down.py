"""What a config says of objects that were made in Python: plain values, and class_path with init_args."""

import functools
import inspect
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from zoo.command.settings import schema
from zoo.errors import ConfigError
from zoo.files.paths import follow
from zoo.recorded import Recorded

_TAKES = "config.yaml holds numbers, texts, lists, mappings, classes, and objects of zoo's classes"


def written_down(key: str, value: Any) -> Any:
    """A value as a config has it.

    Args:
        key: of the setting, for a complaint.

    Raises:
        ConfigError: a config cannot hold it; what to give instead.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (str, Path)):
        return _settled(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return {str(name): written_down(f"{key}.{name}", inside) for name, inside in value.items()}
    if isinstance(value, (list, tuple)):
        return [written_down(f"{key}[{i}]", inside) for i, inside in enumerate(value)]
    if isinstance(value, Recorded):
        return _object(key, type(value), value.made_with)
    if isinstance(value, functools.partial) and not value.args:
        return _object(key, value.func, value.keywords)
    if inspect.isclass(value) or inspect.isfunction(value):
        return _path(key, value)
    if is_dataclass(value):
        return {f.name: written_down(f"{key}.{f.name}", getattr(value, f.name)) for f in fields(value) if f.init}
    example = f"{{'class_path': '{_path(key, type(value))}', 'init_args': {{…}}}}"
    raise ConfigError(f"{key} is an object of {type(value).__name__}, and {_TAKES}. Give {example} in its place.")


def _settled(value: str | Path) -> str:
    """Text; a path through runs/latest names the run itself, as another one will be the latest."""
    is_pointed = {"latest", "last", "best"} & {*Path(value).parts}
    return follow(value).as_posix() if is_pointed else str(value)


def _object(key: str, made_by: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    inside = {name: written_down(f"{key}.{name}", value) for name, value in arguments.items()}
    return {"class_path": _path(key, made_by), "init_args": inside}


def _path(key: str, named: Any) -> str:
    """Where a class or function is imported from: its public place, if it is one of zoo's, torch's or Lightning's."""
    path = f"{named.__module__}.{named.__qualname__}"
    if "<lambda>" in path:
        raise ConfigError(
            f"{key} is a lambda, and {_TAKES}. Give functools.partial(CLASS, NAME=VALUE) in its place, or a function "
            f"of a file, as my_lab.make."
        )
    if "<locals>" in path:
        raise ConfigError(
            f"{key} is {named.__qualname__.rpartition('.')[2]}, which is defined inside a function, where no config "
            f"can name it. Define it at the top of a file."
        )
    if _found(path) is not named:
        raise ConfigError(f"{key} is {path}, which by now is something else: it has been defined anew. Make it again.")
    return schema.load().name(path) or path


def _found(path: str) -> Any:
    """What is imported from there by now."""
    parts = path.split(".")
    module = max((cut for cut in range(1, len(parts)) if ".".join(parts[:cut]) in sys.modules), default=0)
    found: Any = sys.modules.get(".".join(parts[:module]))
    for name in parts[module:]:
        found = getattr(found, name, None)
    return found
