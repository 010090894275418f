"""Write the schema: what may be set, from the signatures of the classes themselves. Slow: it imports them all."""

import dataclasses
import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.command.settings.schema import GIVEN, installed
from zoo.constraints import limits
from zoo.rules import as_json
from zoo.samples import taken

_MODULES = ("torch.optim", "lightning.pytorch.callbacks", "lightning.pytorch.loggers", "lightning.pytorch.profilers")
"""Whose public classes may be named in a config without being the user's own."""
_SIMPLE = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
_RANGES = {"torch.optim.Optimizer": {key: {"minimum": 0} for key in ("lr", "weight_decay", "eps", "momentum")}}
"""What every optimizer refuses when it is made, and its signature does not say."""
_LONGEST = 400


def schema(others_words: bool = True) -> dict[str, Any]:
    """JSON Schema (draft 7) of a config; what starts with x- is for zoo's own checks.

    Args:
        others_words: describe the keys of torch and Lightning too, in the words of their documentation. The schema that
            ships goes without.
    """
    import zoo
    from zoo.callbacks.checkpoints import Checkpoints

    found = _Classes(_bases(), others_words)
    found.add_public("zoo", zoo.__all__)
    for module in _MODULES:
        names = vars(importlib.import_module(module))
        found.add_public(module, [name for name in names if not name.startswith("_")])
    found.add("zoo.Task", zoo.Task, "")
    found.add("zoo.DataModule", zoo.DataModule, "")
    found.add("zoo.Trainer", zoo.Trainer, "")
    found.definitions["zoo.Trainer"]["properties"]["callbacks+"] = {
        "description": "callbacks beside those of other configs."
    }
    found.add("zoo.Checkpoints", Checkpoints, "")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "zoo config",
        "description": "Written by `zoo schema`.",
        "x-versions": installed(),
        "x-modules": {name: sorted(n for n in dir(importlib.import_module(name)) if n[0] != "_") for name in _MODULES},
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "model": _class_of("zoo.Task", "what is trained, and by which loss"),
            "data": _class_of("zoo.DataModule", "samples"),
            "trainer": {"$ref": "#/definitions/zoo.Trainer", "description": "how long, and on what"},
            "checkpoint": {"$ref": "#/definitions/zoo.Checkpoints", "description": "when the run is saved"},
            "seed_everything": {
                "type": ["integer", "boolean"],
                "minimum": 0,
                "maximum": 2**32 - 1,
                "description": "what every random stream starts from",
            },
        },
        "definitions": {**found.definitions, **found.choices()},
    }


def of_class(path: str, base: str) -> dict[str, Any]:
    """Definitions of a class that is not in the schema, and of what its arguments name; {} for what is no class."""
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name, None)
    except (ImportError, ValueError):
        return {}
    found = _Classes(_bases(), others_words=False)
    if inspect.isclass(cls):
        found.add(path, cls, base)
    return found.definitions


def _bases() -> dict[str, type]:
    """What configs may name subclasses of."""
    from lightning.pytorch import Callback
    from lightning.pytorch.loggers import Logger
    from lightning.pytorch.profilers import Profiler
    from torch.optim import Optimizer

    import zoo

    return {
        "zoo.Task": zoo.Task,
        "zoo.DataModule": zoo.DataModule,
        "lightning.pytorch.callbacks.Callback": Callback,
        "torch.optim.Optimizer": Optimizer,
        "lightning.pytorch.loggers.Logger": Logger,
        "lightning.pytorch.profilers.Profiler": Profiler,
    }


class _Classes:
    """Definitions of classes by the name that configs have for them."""

    def __init__(self, bases: dict[str, type], others_words: bool):
        self.bases, self.others_words = bases, others_words
        self.definitions: dict[str, Any] = {}

    def add_public(self, module: str, names: Iterable[str]) -> None:
        for name in sorted(names):
            found = getattr(importlib.import_module(module), name, None)
            base = next((b for b, cls in self.bases.items() if inspect.isclass(found) and issubclass(found, cls)), "")
            if base and found not in self.bases.values():
                self.add(f"{module}.{name}", found, base)

    def add(self, path: str, cls: Any, base: str) -> None:
        from jsonargparse._parameter_resolvers import get_signature_parameters  # what the parser itself asks

        parameters = get_signature_parameters(cls, None)[GIVEN.get(base, 0) :]
        definition = {
            "type": "object",
            "description": summary(cls.__doc__) if self._may_quote(cls) else "",
            "additionalProperties": False,
            "properties": {p.name: self._property(p, base) for p in parameters},
            "x-base": base,
            "x-home": f"{cls.__module__}.{cls.__qualname__}",
            "x-required": [p.name for p in parameters if p.default is inspect.Parameter.empty],
        }
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspect.signature(cls).parameters.values()):
            definition["x-kwargs"] = True
        if rules := [as_json(rule) for one in cls.__mro__ for rule in vars(one).get("rules", ())]:
            definition["x-rules"] = rules
        if samples := [kind.__name__ for kind in taken(cls)]:
            definition["x-samples"] = samples
        if looks := getattr(cls, "looks", None):
            definition["x-looks"] = looks
        if shorthands := getattr(cls, "shorthands", None):
            definition["x-shorthands"] = shorthands
        self.definitions[path] = definition

    def _property(self, parameter: Any, base: str) -> dict[str, Any]:
        found = self.describe(parameter.annotation)
        if found and parameter.default is None and not _takes_null(found):
            found = _either([found, {"type": "null"}])  # the parser reads it so
        found = {**found, **_RANGES.get(base, {}).get(parameter.name, {})}
        if parameter.doc and self._may_quote(parameter.parent):
            found["description"] = one_line(parameter.doc)
        default = parameter.default
        if isinstance(default, (str, int, float, bool)) or default is None:
            found["default"] = default
        return found

    def _may_quote(self, cls: Any) -> bool:
        return self.others_words or getattr(cls, "__module__", "").split(".")[0] == "zoo"

    def describe(self, hint: Any) -> dict[str, Any]:
        """What a type accepts. {} for what only the parser itself can judge."""
        if hint in _SIMPLE:
            return {"type": _SIMPLE[hint]}
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            return {**self.describe(arguments[0]), **limits(hint)}
        if origin is typing.Literal:
            return {"enum": [*arguments]}
        if origin in (typing.Union, types.UnionType):
            return _either([self.describe(argument) for argument in arguments])
        if origin in (Callable, type) or hint is Callable:
            return _class_of(path) if arguments and (path := self.path(arguments[-1])) else {}
        if inspect.isclass(origin) and issubclass(origin, tuple):
            return self._tuple(arguments)
        if inspect.isclass(origin) and issubclass(origin, Mapping):
            return {"type": "object"}
        if inspect.isclass(origin) and issubclass(origin, (Sequence, set, Iterable)):
            return {"type": "array", **({"items": items} if (items := self.describe(arguments[0])) else {})}
        if dataclasses.is_dataclass(hint) and inspect.isclass(hint):
            return self._dataclass(hint)
        if hint in (list, tuple, set):
            return {"type": "array"}
        if hint is dict:
            return {"type": "object"}
        if inspect.isclass(hint) and issubclass(hint, Path):
            return {"type": "string"}
        if inspect.isclass(hint) and hint.__name__ == "Tensor":
            return {"type": "object"}  # as a class, which nobody does
        return _class_of(path) if inspect.isclass(hint) and (path := self.path(hint)) else {}

    def path(self, cls: Any) -> str:
        """The name of a base that configs may name subclasses of."""
        return next((path for path, base in self.bases.items() if cls is base), "")

    def _tuple(self, arguments: tuple[Any, ...]) -> dict[str, Any]:
        if not arguments or Ellipsis in arguments:
            return {"type": "array"}
        items = [self.describe(argument) for argument in arguments]
        return {"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)}

    def _dataclass(self, cls: Any) -> dict[str, Any]:
        path = f"{cls.__module__}.{cls.__qualname__}"
        if path not in self.definitions:
            self.add(path, cls, "")
        return {"$ref": f"#/definitions/{path}"}

    def choices(self) -> dict[str, Any]:
        """For editors: a class path, and the arguments that belong to it."""
        return {f"any-{base}": self._choice(base) for base in self.bases}

    def _choice(self, base: str) -> dict[str, Any]:
        names = [path for path, found in self.definitions.items() if found["x-base"] == base]
        cases = [
            {
                "if": {"properties": {"class_path": {"const": name}}, "required": ["class_path"]},
                "then": {"properties": {"init_args": {"$ref": f"#/definitions/{name}"}}},
            }
            for name in names
        ]
        path = {"anyOf": [{"enum": names}, {"type": "string"}], "description": "a class, by where it is imported from"}
        properties = {"class_path": path, "init_args": {"type": "object"}, "dict_kwargs": {"type": "object"}}
        return {"type": ["object", "string"], "properties": properties, "allOf": cases}


def _class_of(base: str, what: str = "") -> dict[str, Any]:
    return {"$ref": f"#/definitions/any-{base}", "x-class": base, **({"description": what} if what else {})}


def _takes_null(expected: dict[str, Any]) -> bool:
    return any(
        not b or "null" in str(b.get("type")) or None in b.get("enum", ()) for b in expected.get("anyOf", [expected])
    )


def _either(branches: list[dict[str, Any]]) -> dict[str, Any]:
    if {} in branches:
        return {}
    plain = [branch["type"] for branch in branches if [*branch] == ["type"]]
    rest = [branch for branch in branches if [*branch] != ["type"]]
    merged: list[dict[str, Any]] = [{"type": plain[0] if len(plain) == 1 else plain}] if plain else []
    either = [*merged, *rest]
    return either[0] if len(either) == 1 else {"anyOf": either}


def summary(doc: str | None) -> str:
    """The first paragraph of a docstring."""
    return one_line(re.split(r"\n\s*\n", inspect.cleandoc(doc or ""))[0])


def one_line(text: str) -> str:
    """Documentation as one line of whole sentences, without the marks of reStructuredText."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"\1", text).replace("``", "")
    text = re.sub(r"\s+", " ", text).strip()
    sentences = re.split(r"(?<=[.?!]) (?=[A-Z])", text)
    return " ".join(one for i, one in enumerate(sentences) if not i or len(" ".join(sentences[: i + 1])) <= _LONGEST)
