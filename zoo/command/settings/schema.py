"""What may be set: the schema that ships with zoo; of classes that it does not know, what their source says."""

import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from zoo.command.settings import static_signature

SHIPPED = Path(__file__).parent.parent / "schema.json"
SECTIONS = ("model", "data", "trainer", "checkpoint", "seed_everything")
BASES = {"model": "zoo.Task", "data": "zoo.DataModule"}
GIVEN = {"torch.optim.Optimizer": 1}
"""Leading arguments that are not set in a config: an optimizer is called with the parameters."""


@dataclass(frozen=True, eq=False)
class Schema:
    """What classes and sections take.

    Args:
        may_import: ask classes themselves where neither the schema nor their source says what they take. Slow.
    """

    content: dict[str, Any]
    may_import: bool = False

    @property
    def sections(self) -> dict[str, Any]:
        return self.content["properties"]

    @property
    def definitions(self) -> dict[str, Any]:
        return self.content["definitions"]

    @cached_property
    def _homes(self) -> dict[str, str]:
        return {found["x-home"]: name for name, found in self.definitions.items() if "x-home" in found}

    @cached_property
    def _others(self) -> tuple[str, ...]:
        """Beginnings of names that belong to another major.minor version than the installed one."""
        here = {name: _minor(version) for name, version in installed().items()}
        other = [name for name, version in self.content["x-versions"].items() if here.get(name) != _minor(version)]
        return tuple(f"{name}." for name in other) + (("zoo.Trainer",) if "lightning" in other else ())

    @cached_property
    def is_exact(self) -> bool:
        """Whether it was written for the very versions that are installed."""
        return bool(self.content["x-versions"] == installed())

    def name(self, path: str, base: str = "") -> str:
        """The name that the schema has for a class path; "" for none. A bare name is one of the base's classes."""
        if path in self.definitions and "x-home" in self.definitions[path]:
            return path
        if path in self._homes:
            return self._homes[path]
        if "." not in path and base:
            return next((name for name in self.subclasses(base) if name.rpartition(".")[2] == path), "")
        return ""

    def subclasses(self, base: str) -> list[str]:
        return [name for name, found in self.definitions.items() if found.get("x-base") == base]

    def public(self, module: str) -> list[str]:
        """Every public name of a module; nothing where they are not known."""
        if module == "zoo":
            import zoo

            return zoo.__all__
        return [] if f"{module}.".startswith(self._others or "\0") else self.content["x-modules"].get(module, [])

    def definition(self, path: str, base: str = "") -> dict[str, Any] | None:
        """What a class takes; None where it is not known for certain."""
        name = self.name(path, base)
        if name and not name.startswith(self._others or "\0"):
            return self.definitions[name]
        found = self.source(name or path)
        known = self._of_source(found, base) if found else None
        return known or (self._of_class(path, base) if self.may_import else None)

    def source(self, path: str) -> static_signature.Signature | None:
        """What the source of a class says; None where it says nothing for certain, or is not there."""
        with suppress(static_signature.NotThereError):
            return static_signature.find(path)
        return None

    def _of_source(self, found: static_signature.Signature, base: str) -> dict[str, Any] | None:
        """With what its bases take, as far as it passes it on to them."""
        above = [self.definition(path, base) if path else None for path in found.bases]
        if None in above:
            return None
        own = [*found.properties][GIVEN.get(base, 0) :]
        properties = {name: found.properties[name] for name in own}
        required, rules, shorthands = [name for name in found.required if name in own], list[Any](), dict[str, str]()
        for known in filter(None, above):
            shorthands |= known.get("x-shorthands", {})
            if found.passes_on:
                theirs = {n: p for n, p in known["properties"].items() if n not in found.fixed | {*found.properties}}
                properties |= theirs
                required += [name for name in known["x-required"] if name in theirs]
                rules += known.get("x-rules", [])
        return {
            "description": found.summary,
            "properties": properties,
            "x-required": required,
            "x-rules": rules,
            "x-base": next((known["x-base"] for known in above if known and known["x-base"]), ""),
            "x-home": found.path,
            "x-samples": found.samples
            or next((known["x-samples"] for known in above if known and "x-samples" in known), []),
            "x-shorthands": shorthands | found.shorthands,
        }

    def _of_class(self, path: str, base: str) -> dict[str, Any] | None:
        from zoo.command.settings import write_schema

        found = write_schema.of_class(path, base)
        self.definitions.update(found)
        return found.get(path)

    def resolved(self, expected: dict[str, Any]) -> dict[str, Any]:
        """What a reference stands for; {} for what is of another version and may not be asked."""
        name = expected.get("$ref", "").removeprefix("#/definitions/")
        if not name or "x-class" in expected:
            return expected
        if name.startswith(self._others or "\0"):
            return (self._of_class(name, "") or {}) if self.may_import else {}
        return self.definitions[name]


@cache
def load(may_import: bool = False) -> Schema:
    return Schema(json.loads(SHIPPED.read_text("utf-8")), may_import)


def installed() -> dict[str, str]:
    """Versions, by the names of the folders that pip writes: faster than importlib.metadata, which parses them."""
    found = {}
    for name in ("lightning", "torch"):
        for folder in map(Path, sys.path):
            if written := sorted(folder.glob(f"{name}-[0-9]*.dist-info")):
                found[name] = written[-1].name.removeprefix(f"{name}-").removesuffix(".dist-info").partition("+")[0]
                break
    return found


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
