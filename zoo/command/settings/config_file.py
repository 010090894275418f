"""A config file, or the value of a flag, as a tree of settings that know where they stand; or why it is none.

It is built from the parser's events, so that depth, size and references are bounded before anything recurses.
"""

import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from zoo.command.settings import shipped
from zoo.command.settings.problems import MISSING, Problem, nearest
from zoo.files.paths import exists, nearest_file

_MOST_BYTES, _DEEPEST, _MOST_VALUES = 1_000_000, 50, 100_000
_SCALARS = (str, int, float, bool, type(None))
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Node:
    """A value and where it stands.

    Args:
        value: a scalar, a list of nodes, or a dictionary of nodes.
        place: " at gpt.yaml:4"; "" for a flag.
        text: of a scalar or a flag, as it was typed.
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


def read(path: Path, name: str = "") -> tuple[dict[str, Node], list[Problem]]:
    """The settings of a file, and what is doubtful in it although it can be read.

    Args:
        name: what the file is called in a complaint.

    Raises:
        UnreadableError: with the reason.
    """
    name = name or str(path)
    text = _text(path, name)
    tree = _Tree(text, name)
    try:
        node = tree.build()
    except yaml.YAMLError as error:
        raise UnreadableError(_broken(error, text, name)) from error
    if node is None or node.value is None:
        raise UnreadableError(f"--config {name} is empty; zoo list shows configs to start from.")
    if not isinstance(node.value, dict):
        kind = "a list" if isinstance(node.value, list) else f"the text {node.text[:40]!r}"
        raise UnreadableError(f"--config {name} holds {kind}; expected sections: model, data, trainer.")
    return node.value, tree.problems


def of_flag(text: str) -> Node:
    """The value of a flag; text that is no YAML stays what it is."""
    try:
        node = _Tree(text).build()
    except yaml.YAMLError:
        node = None
    return Node(text, text=text) if node is None else Node(node.value, text=text)


def of_value(value: Any, place: str) -> Node:
    """A plain value of Python, with all that is in it, as one that stands in a place."""
    if isinstance(value, dict):
        return Node({str(key): of_value(inside, place) for key, inside in value.items()}, place)
    if isinstance(value, list):
        return Node([of_value(inside, place) for inside in value], place)
    return Node(value, place)


class _Tree:
    def __init__(self, text: str, name: str = ""):
        self.name, self.problems = name, list[Problem]()
        self.loader, self.events = _LOADER(""), yaml.parse(text, _LOADER)
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.count = 0

    def build(self) -> Node | None:
        """The first document; None where there is none."""
        for event in self.events:
            if not isinstance(event, (yaml.StreamStartEvent, yaml.DocumentStartEvent)):
                return None if isinstance(event, yaml.StreamEndEvent) else self._whole(event)
        return None

    def _whole(self, event: yaml.Event) -> Node:
        node = self._node(event, 0)
        if any(isinstance(later, yaml.DocumentStartEvent) for later in self.events):
            raise self._error("it holds several documents (---); expected one", event)
        return node

    def _node(self, event: Any, depth: int) -> Node:
        self.count += 1
        before = self.count
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise self._error(f"there is no anchor &{event.anchor} before it", event)
            node, size = self.anchors[event.anchor]
            self.count += size
        elif depth > _DEEPEST:
            raise self._error(f"it is nested more than {_DEEPEST} deep", event)
        elif isinstance(event, yaml.MappingStartEvent):
            node = Node(self._mapping(depth + 1), self._place(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Node(self._sequence(depth + 1), self._place(event))
        else:
            node = Node(self._scalar(event), self._place(event), event.value)
        if self.count > _MOST_VALUES:
            raise self._error(f"it holds more than {_MOST_VALUES:,} values, with what its references stand for", event)
        if event.anchor and not isinstance(event, yaml.AliasEvent):
            self.anchors[event.anchor] = (node, self.count - before)
        return node

    def _sequence(self, depth: int) -> list[Node]:
        found = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            found.append(self._node(event, depth))
        return found

    def _mapping(self, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        lines: dict[str, int] = {}
        while not isinstance(key := next(self.events), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                raise self._error("a key is one word here, neither list nor mapping nor reference", key)
            node, line = self._node(next(self.events), depth), _line(key)
            if key.value == "<<" and key.implicit[0]:
                for one in node.value if isinstance(node.value, list) else [node]:
                    if not isinstance(one.value, dict):
                        raise self._error("<< takes a mapping", key)
                    merged = one.value | merged
                continue
            if key.value in found:
                where = f"{self.name or 'a flag'}: lines {lines[key.value]} and {line}"
                self.problems.append(Problem(f"{key.value} stands twice in {where}."))
            found[key.value], lines[key.value] = replace(node, place=self._place(key)), line
        return merged | found

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        tag = event.tag or self.loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag == "tag:yaml.org,2002:timestamp":
            return event.value
        if re.fullmatch("0[0-9]+", event.value) and event.implicit[0]:
            return int(event.value)  # no octal number, as YAML 1.1 has it
        try:
            value = self.loader.construct_object(yaml.ScalarNode(tag, event.value))
        except (ValueError, KeyError, IndexError, OverflowError) as error:  # 0x_, !!int ''
            raise self._error(f"{event.value[:40]!r} is no {tag.rpartition(':')[2]}", event) from error
        if not isinstance(value, _SCALARS):
            raise self._error(f"a setting is no {tag.rpartition(':')[2]}", event)
        return number(value) if event.implicit[0] and isinstance(value, str) else value

    def _place(self, event: Any) -> str:
        return f" at {self.name}:{_line(event)}" if self.name else ""

    def _error(self, what: str, event: Any) -> yaml.YAMLError:
        return yaml.MarkedYAMLError(problem=what, problem_mark=event.start_mark)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def number(text: str) -> float | str:
    """1e-3 is a number, which YAML 1.1 takes for text."""
    try:
        return float(text) if re.search("[0-9]", text) and text.isascii() else text
    except ValueError:
        return text


def _text(path: Path, name: str) -> str:
    if not exists(path):
        here, ours = nearest_file(path), nearest(name.removesuffix(".yaml").removeprefix("configs/"), shipped.names())
        near = f"{here}?" if here else f"{ours if ours != '.' else '; zoo list shows the configs of zoo.'}"
        raise UnreadableError(f"--config {name}: no such file{near}", MISSING)
    if path.is_dir():
        inside = sorted(entry.name for entry in path.glob("*.y*ml"))
        hint = f"; name a file in it, as {path / inside[0]}" if inside else ""
        raise UnreadableError(f"--config {name} is a folder{hint}.", MISSING)
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableError(f"--config {name} is no regular file; expected a file with YAML.", MISSING)
        if found.st_size > _MOST_BYTES:
            raise UnreadableError(f"--config {name} has {found.st_size:,} bytes; a config has at most {_MOST_BYTES:,}.")
        raw = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"--config {name} cannot be read: {error.strerror}.", MISSING) from error
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UnreadableError(f"--config {name} is UTF-16; save it as UTF-8.")
    if b"\0" in raw:
        raise UnreadableError(f"--config {name} is no text file; expected YAML.")
    try:
        return raw.decode("utf-8-sig")
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
    if "nesting depth" in what:  # newer parsers have a limit of their own, and meet it before ours
        return f"{name}:{mark.line + 1} cannot be used: it is nested more than {_DEEPEST} deep."
    if context is not None and "flow" in str(getattr(error, "context", "")):
        bracket = "{" if "mapping" in error.context else "["  # type: ignore[attr-defined]
        return f"{name}:{context.line + 1}: the {bracket} is not closed, or a comma is missing."
    return f"{name}:{mark.line + 1} cannot be used: {what}: {here.strip()[:60]!r}."
