"""What may be set: the schema that ships with zoo, or the one made for the installed torch and Lightning."""

import json
import sys
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from zoo.paths import cache_folder, write_text
from zoo.settings import source

SHIPPED = Path(__file__).parent.parent / "schema.json"
_DEPENDS_ON = ("lightning", "torch")
SECTIONS = ("model", "data", "trainer", "checkpoint", "seed_everything")


@dataclass(frozen=True, eq=False)
class Schema:
    """What classes and sections take.

    Args:
        exact: made for what is installed; else only what is said about zoo's own classes holds.
    """

    content: dict[str, Any]
    exact: bool

    @property
    def sections(self) -> dict[str, Any]:
        return self.content["properties"]

    @property
    def definitions(self) -> dict[str, Any]:
        return self.content["definitions"]

    @cached_property
    def _homes(self) -> dict[str, str]:
        return {found["x-home"]: name for name, found in self.definitions.items() if "x-home" in found}

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

    def definition(self, path: str, base: str = "") -> dict[str, Any] | None:
        """What a class takes; None where it is not known for certain."""
        if name := self.name(path, base):
            return self.definitions[name] if self.exact or name.startswith("zoo.") else None
        return self._from_source(path)

    def _from_source(self, path: str) -> dict[str, Any] | None:
        """Of a class outside the package."""
        try:
            found = source.find(path)
        except source.NotThereError:
            return None
        return self._merged(found) if found else None

    def _merged(self, found: source.Source) -> dict[str, Any] | None:
        own = source.arguments(found)
        if own is None:
            return None
        summary, about = source.docs(found)
        described = {n: {**p, **({"description": about[n]} if n in about else {})} for n, p in own.properties.items()}
        definition: dict[str, Any] = {
            "description": summary,
            "properties": described,
            "x-required": list(own.required),
            "x-base": "",
            "x-home": found.path,
            "x-shorthands": found.constant("shorthands") or {},
        }
        if own.fixed is None and own.passes_on:
            return None
        for base in source.bases(found):
            known = self._of_base(base)
            if known is None:
                return None
            definition["x-base"] = definition["x-base"] or known["x-base"]
            definition["x-shorthands"] = {**known.get("x-shorthands", {}), **definition["x-shorthands"]}
            if own.passes_on:
                theirs = {n: p for n, p in known["properties"].items() if n not in (own.fixed or ())}
                definition["properties"] = {
                    **definition["properties"],
                    **{n: p for n, p in theirs.items() if n not in own.properties},
                }
                needed = [n for n in known["x-required"] if n in theirs and n not in own.properties]
                definition["x-required"] += needed
        return definition

    def _of_base(self, base: source.Source | str) -> dict[str, Any] | None:
        path = base if isinstance(base, str) else base.path
        if path in ("zoo.task.Task", "zoo.datamodule.DataModule"):
            return self.definitions[{"zoo.task.Task": "zoo.Task"}.get(path, "zoo.DataModule")]
        return self.definition(path) if path else None

    def resolved(self, expected: dict[str, Any]) -> dict[str, Any]:
        """What a reference stands for."""
        reference = expected.get("$ref", "")
        if not reference or "x-class" in expected:
            return expected
        name = reference.removeprefix("#/definitions/")
        return self.definitions[name]


@cache
def load() -> Schema:
    """The schema for what is installed, if there is one, else the shipped one."""
    shipped, here = json.loads(SHIPPED.read_text("utf-8")), installed()
    if shipped["x-versions"] == here:
        return Schema(shipped, exact=True)
    if (own := cached(here)).is_file():
        try:
            content = json.loads(own.read_text("utf-8"))
        except ValueError:
            return Schema(shipped, exact=False)
        zoos = {name: found for name, found in shipped["definitions"].items() if is_own(name)}
        return Schema({**content, "definitions": {**content["definitions"], **zoos}}, exact=True)
    return Schema(shipped, exact=False)


def is_own(name: str) -> bool:
    return name.startswith("zoo.") and name != "zoo.Trainer"


def keep_for_these_versions() -> None:
    """Make the schema of the installed versions, once, where the shipped one is for others. Slow the first time."""
    from zoo.settings import generate

    here = installed()
    if json.loads(SHIPPED.read_text("utf-8"))["x-versions"] != here and not cached(here).exists():
        try:
            write_text(cached(here), json.dumps(generate.schema()))
        except Exception as error:  # other versions may name their types in other ways; the parser checks all the same
            print(f"no schema for these versions of torch and Lightning ({error}); mistakes show after the imports.")


def cached(versions: dict[str, str]) -> Path:
    return cache_folder() / "schema" / ("-".join(f"{name}{version}" for name, version in versions.items()) + ".json")


def installed() -> dict[str, str]:
    """Versions, by the names of the folders that pip writes: faster than importlib.metadata, which parses them."""
    found = {}
    for name in _DEPENDS_ON:
        for folder in map(Path, sys.path):
            if written := sorted(folder.glob(f"{name}-[0-9]*.dist-info")):
                found[name] = written[-1].name.removeprefix(f"{name}-").removesuffix(".dist-info").partition("+")[0]
                break
    return found
