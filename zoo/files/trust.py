"""What a config may name: classes that a run is made of, and functions of the user's own; no other code is called.

A config may come from a stranger. Whoever can name any function, with any arguments, can do anything.
"""

import importlib
import importlib.util
import inspect
import sys
from argparse import Namespace  # jsonargparse's is one of them
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo.errors import ConfigError, MissingInputError

_BASES = frozenset(
    {
        "torch.nn.modules.module.Module",
        "torch.optim.optimizer.Optimizer",
        "torch.optim.lr_scheduler.LRScheduler",
        "lightning.pytorch.core.datamodule.LightningDataModule",
        "lightning.pytorch.callbacks.callback.Callback",
        "lightning.pytorch.profilers.profiler.Profiler",
        "lightning.fabric.loggers.logger.Logger",
        "lightning.fabric.plugins.precision.precision.Precision",
        "lightning.fabric.plugins.io.checkpoint_io.CheckpointIO",
        "lightning.fabric.plugins.environments.cluster_environment.ClusterEnvironment",
        "lightning.fabric.accelerators.accelerator.Accelerator",
        "lightning.pytorch.strategies.strategy.Strategy",
    }
)
"""What a run is made of, by the places where the libraries define it."""
_INSTALLED = ("site-packages", "dist-packages")
_EXPECTED = (
    "a config may name classes (of tasks, data, optimizers, callbacks, loggers …) and functions of a Python file "
    "in this folder"
)


def check(config: Any) -> None:
    """Refuse what a config must not name, before anything of it is called.

    Args:
        config: settings as nested mappings and lists, before or after the parser has looked at them. A class path
            without a dot is left to the parser, which looks it up among the classes of the expected type.

    Raises:
        ConfigError: a class path, or a function in the place of a value, that is none of what a run is made of.
    """
    for key, named in _named(config, ""):
        if isinstance(named, str):
            what = _reason_of_path(named) if "." in named else None
        else:
            what = _reason(named)
            named = f"{named.__module__}.{getattr(named, '__qualname__', named)}"
        if what:
            raise ConfigError(f"{key} is {named}, {what}; {_EXPECTED}.")


def check_source(name: str, allowed: str) -> None:
    """Refuse `data.train: python:NAME` unless it is the user's own, or what zoo knows to be data.

    Args:
        name: of a module, or of a function in one; nothing of it is imported.
        allowed: beginning of the names beside the user's own.

    Raises:
        ConfigError: it is neither.
    """
    if not name.startswith(allowed) and not is_own(name):
        raise ConfigError(
            f"python:{name} is code of {_whose(name)}, which a config may not have run; {allowed}… may be named, and a "
            f"Python file in this folder."
        )


def call_source(name: str, allowed: str) -> Any:
    """What the function of `data.train: python:NAME` returns.

    Args:
        allowed: as in `check_source`.

    Raises:
        ConfigError: it is not to be called.
        MissingInputError: there is no such function.
    """
    check_source(name, allowed)
    module, _, function = name.rpartition(".")
    try:
        call = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise MissingInputError(f"data: python:{name}: {error}.") from error
    return call()


def is_own(module: str) -> bool:
    """Whether a module is a file below the working directory, and not of an installed package. Does not import it."""
    first = module.partition(".")[0]
    if first == "zoo":
        return False
    try:
        spec = sys.modules[first].__spec__ if first in sys.modules else importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    places = [spec.origin] if spec.has_location else [*(spec.submodule_search_locations or ())]
    return bool(places) and all(place is not None and _is_here(Path(place)) for place in places)


def _is_here(path: Path) -> bool:
    here = Path.cwd().resolve()
    return path.resolve().is_relative_to(here) and not {*path.resolve().relative_to(here).parts} & {*_INSTALLED}


def _named(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Class paths, and classes and functions, by the key where they stand."""
    if isinstance(node, (Mapping, Namespace)):
        for name, value in (node if isinstance(node, Mapping) else vars(node)).items():
            if name == "class_path" and isinstance(value, str):
                yield key or name, value
            else:
                inside = key if name in ("init_args", "dict_kwargs") else f"{key}.{name}" if key else str(name)
                yield from _named(value, inside)
    elif isinstance(node, (list, tuple)):
        for i, value in enumerate(node):
            yield from _named(value, f"{key}[{i}]")
    elif inspect.isclass(node) or inspect.isroutine(node):
        yield key, node


def _reason_of_path(path: str) -> str | None:
    """Why a class path must not be used; None where it may, or where there is no such thing, as the parser will say."""
    parts = path.split(".")
    if parts[0] in sys.stdlib_module_names and not is_own(path):
        return "something of Python's standard library"  # and is not even imported
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
            for name in parts[cut:]:
                found = getattr(found, name)
        except ModuleNotFoundError:
            continue
        except (ImportError, AttributeError, ValueError):
            return None
        return _reason(found)
    return None


def _reason(found: Any) -> str | None:
    """Why a class or function must not be used; None where it may."""
    home = str(getattr(found, "__module__", None) or "")
    if (inspect.isclass(found) or inspect.isfunction(found)) and is_own(home):
        return None
    if not inspect.isclass(found):
        return f"a function of {_whose(home)}" if callable(found) else f"no class but a {type(found).__name__}"
    names = {f"{cls.__module__}.{cls.__qualname__}" for cls in found.__mro__}
    of_zoo = home.partition(".")[0] == "zoo" and "__dataclass_fields__" in vars(found)
    return None if names & _BASES or of_zoo else f"a class of {_whose(home)} that no part of a run is made of"


def _whose(module: str) -> str:
    first = module.partition(".")[0]
    return "Python's standard library" if first in sys.stdlib_module_names else f"the package {first}"
