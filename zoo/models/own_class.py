"""A network of the user's own, named by class path: found, made, and written so that it can be made again."""

import importlib
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors.torch import save_model
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from zoo.errors import ConfigError
from zoo.files import trust
from zoo.files.paths import write_text

_WEIGHTS, _ARGUMENTS = "model.safetensors", "network.json"
_CARD = """\
# {name}

A network trained with zoo. Its code is not in this folder: `{module}` has to be importable.

```python
import json

from safetensors.torch import load_model
from {module} import {name}

settings = json.load(open("{arguments}"))
network = {name}(**settings["init_args"]).eval()
load_model(network, "{weights}")
```

{inputs}
"""


def is_named(architecture: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether an architecture is a class path with arguments, and none of a library."""
    return isinstance(architecture, Mapping) and "class_path" in architecture


def parts(architecture: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Class path and arguments.

    Raises:
        ConfigError: there is something else beside them.
    """
    if unknown := architecture.keys() - {"class_path", "init_args"}:
        raise ConfigError(
            f"model.architecture has {', '.join(sorted(unknown))} beside class_path. Arguments of the network belong "
            f"under init_args."
        )
    return str(architecture["class_path"]), dict(architecture.get("init_args") or {})


def set_dropout(network: nn.Module, path: str, probability: float) -> None:
    """Set every dropout layer; 0 leaves them as the network has them.

    Raises:
        ConfigError: it has none.
    """
    found = [module for module in network.modules() if isinstance(module, _DropoutNd)]
    if probability and not found:
        raise ConfigError(f"model.dropout is {probability}, and {path} has no dropout layer (torch.nn.Dropout).")
    for module in found if probability else ():
        module.p = probability


def checkpoint_activations(network: nn.Module, path: str) -> None:
    if not callable(enable := getattr(network, "gradient_checkpointing_enable", None)):
        raise ConfigError(
            f"model.gradient_checkpointing needs a method gradient_checkpointing_enable() in {path}, which has none."
        )
    enable()


@contextmanager
def without_zeros(network: nn.Module) -> Iterator[None]:
    """Inside, no tensor is all zero, as heads and last layers often begin, so that a trial shows something."""
    zeros = [p for p in network.parameters() if not p.any()]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in zeros:
            parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
        try:
            yield
        finally:
            for parameter in zeros:
                parameter.zero_()


def make(path: str, arguments: Mapping[str, Any], found_out: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """The network with new weights, and the arguments that it was made with.

    Args:
        path: class path. It may come out of a checkpoint, so it is held against what a config may name.
        arguments: as the user gave them.
        found_out: further ones that zoo knows, for those of these names that the constructor takes.

    Raises:
        ConfigError: there is no such class, it is no network, or it does not take these arguments.
    """
    kind = _class(path)
    taken = inspect.signature(kind).parameters
    given = {**{name: value for name, value in found_out.items() if name in taken}, **arguments}
    try:
        return kind(**given), given
    except Exception as error:  # constructors raise what they like
        known = ", ".join(taken) or "none"
        raise ConfigError(
            f"model.architecture: {path} cannot be made with {_shown(given)}: {_line(error)}. It takes {known}."
        ) from error


def _class(path: str) -> type[nn.Module]:
    trust.check({"model": {"architecture": {"class_path": path}}})
    module, _, name = str(path).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"model.architecture.class_path is {path!r}: {_line(error)}. Expected the class of a network, as "
            f"my_lab.NanoGPT for the class NanoGPT in my_lab.py of this folder."
        ) from error
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise ConfigError(f"model.architecture.class_path is {path}, which is no class of a torch.nn.Module.")
    return found


def save(network: nn.Module, path: str, arguments: Mapping[str, Any], folder: Path, inputs: str) -> None:
    """Weights, arguments, and a card that says how to load them.

    Args:
        inputs: what the network gets and gives, for the card.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_model(network, str(folder / _WEIGHTS))  # a tensor that two layers share is written once
    write_text(folder / _ARGUMENTS, json.dumps({"class_path": path, "init_args": dict(arguments)}, indent=2) + "\n")
    module, _, name = path.rpartition(".")
    names = {"name": name, "module": module, "arguments": _ARGUMENTS, "weights": _WEIGHTS}
    write_text(folder / "README.md", _CARD.format(**names, inputs=inputs))


def tried(path: str, what: str, call: Any) -> Any:
    """What a call returns.

    Raises:
        ConfigError: it fails, in one line: the network is at fault.
    """
    try:
        return call()
    except Exception as error:  # networks raise what they like
        raise ConfigError(f"model.architecture: {path} fails on {what}: {_line(error)}.") from error


def described(value: Any) -> str:
    return f"{type(value).__name__} of shape {[*value.shape]}" if hasattr(value, "shape") else type(value).__name__


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _shown(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in arguments.items()) or "no arguments"
