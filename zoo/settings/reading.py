"""YAML as the parser of the configs reads it, with the line of every key, and what is wrong with a file in one line."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from zoo.paths import nearest_file
from zoo.settings.problems import MISSING, Problem

_FLOAT = re.compile(
    r"""^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)
    |\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.X,
)
"""What is a number with a point: 1e-3 too, which YAML 1.1 takes for text. As jsonargparse has it."""
_DEEPEST = 50


@dataclass
class Node:
    """A value and where it stands.

    Args:
        value: a scalar, a list of nodes, or a dictionary of nodes.
        place: " at gpt.yaml:4"; "" for a flag.
        text: of a scalar, as it was typed.
    """

    value: Any
    place: str = ""
    text: str = ""

    def plain(self) -> Any:
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


class UnreadableError(Exception):
    """A file that yields no settings at all."""

    def __init__(self, line: str, code: int = 2):
        super().__init__(line)
        self.problem = Problem(line, code)


@cache
def _loader() -> Any:
    """jsonargparse's: no timestamps, and 1e-3 is a number."""

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    gone = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float")
    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if tag not in gone]
        for first, rules in Loader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
    return Loader


def read(path: Path, name: str = "") -> tuple[dict[str, Node], list[Problem]]:
    """The settings of a file, and what is doubtful in it although it can be read.

    Args:
        name: what the file is called in a complaint.

    Raises:
        UnreadableError: with the reason.
    """
    name = name or str(path)
    text = _text(path, name)
    try:
        node, problems = parse(text, name)
    except yaml.YAMLError as error:
        raise UnreadableError(_broken(error, text, name)) from error
    if node is None or node.value is None:
        raise UnreadableError(f"--config {name} is empty; zoo list shows configs to start from.")
    if not isinstance(node.value, dict):
        kind = "a list" if isinstance(node.value, list) else f"the text {node.text[:40]!r}"
        raise UnreadableError(f"--config {name} holds {kind}; expected sections: model, data, trainer.")
    return node.value, problems


def parse(text: str, name: str = "") -> tuple[Node | None, list[Problem]]:
    """Any YAML, with lines where it has a name."""
    loader = _loader()(text)
    try:
        top = loader.get_single_node()
        builder = _Builder(loader, name)
        return (None if top is None else builder.build(top, 0)), builder.problems
    finally:
        loader.dispose()


def parse_flag(text: str) -> Node:
    """The value of a flag; text that is no YAML stays what it is."""
    try:
        node, _ = parse(text)
    except yaml.YAMLError:
        node = None
    return Node(text, text=text) if node is None else Node(node.value, text=text)


class _Builder:
    def __init__(self, loader: Any, name: str):
        self.loader, self.name = loader, name
        self.problems: list[Problem] = []

    def build(self, node: Any, depth: int) -> Node:
        if depth > _DEEPEST:
            raise yaml.YAMLError("it is nested without end")
        place = f" at {self.name}:{node.start_mark.line + 1}" if self.name else ""
        if isinstance(node, yaml.SequenceNode):
            return Node([self.build(child, depth + 1) for child in node.value], place)
        if isinstance(node, yaml.MappingNode):
            return Node(self._mapping(node, depth), place)
        return Node(self.loader.construct_object(node), place, node.value)

    def _mapping(self, node: Any, depth: int) -> dict[str, Node]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in seen and key.value != "<<":
                self.problems.append(
                    Problem(f"{key.value} stands twice in {self.name or 'a flag'}: lines {seen[key.value]} and {line}.")
                )
            if isinstance(key.value, str):
                seen[key.value] = line
        self.loader.flatten_mapping(node)
        found = {}
        for key, child in node.value:
            built = self.build(child, depth + 1)
            if self.name:
                built.place = f" at {self.name}:{key.start_mark.line + 1}"
            found[str(key.value)] = built
        return found


def _text(path: Path, name: str) -> str:
    if path.is_dir():
        inside = sorted(entry.name for entry in path.glob("*.y*ml"))
        hint = f"; name a file in it, as {path / inside[0]}" if inside else ""
        raise UnreadableError(f"--config {name} is a folder{hint}.", MISSING)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        near = nearest_file(path)
        raise UnreadableError(f"--config {name}: no such file{near}{'?' if near else '.'}", MISSING) from None
    except OSError as error:
        raise UnreadableError(f"--config {name} cannot be read: {error.strerror}.", MISSING) from error
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UnreadableError(f"--config {name} is UTF-16; save it as UTF-8.")
    if b"\0" in raw:
        raise UnreadableError(f"--config {name} is no text file; expected YAML.")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UnreadableError(
            f"--config {name} is not UTF-8 (line {line}: byte {raw[error.start]:#04x}); save it as UTF-8."
        ) from error


def _broken(error: yaml.YAMLError, text: str, name: str) -> str:
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    what = str(getattr(error, "problem", None) or error).splitlines()[0]
    if mark is None:
        return f"{name} is no YAML: {what}."
    lines = text.splitlines()
    here = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in here[: mark.column + 1] or ("cannot start any token" in what and "\t" in here):
        return f"{name}:{mark.line + 1} is indented with a tab; YAML wants spaces."
    if "mapping values are not allowed" in what:
        return f"{name}:{mark.line + 1}: a second colon, or more indented than the line above: {here.strip()[:60]!r}."
    if context is not None and "flow" in str(getattr(error, "context", "")):
        bracket = "{" if "mapping" in error.context else "["  # type: ignore[attr-defined]
        return f"{name}:{context.line + 1}: the {bracket} is not closed, or a comma is missing."
    return f"{name}:{mark.line + 1} is no YAML: {what}: {here.strip()[:60]!r}."
