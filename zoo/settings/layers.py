"""Defaults, configs, overlays and flags, one on top of the other, and everything that is wrong with the result."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zoo.settings import checking, guards, machine, reading, source
from zoo.settings.checking import CLASS_KEYS, UNKNOWN
from zoo.settings.problems import FOREIGN, Problem, nearest, nearest_word
from zoo.settings.reading import Node
from zoo.settings.schema import SECTIONS, Schema

DEFAULTS = Path(__file__).parent.parent / "defaults.yaml"
_CLASSES = {"model": "zoo.Task", "data": "zoo.DataModule"}
_ELSE = {"config", "help", "print_config"}
_SHOWN_AS_HELP = ("--help", "-h", "--print_config")


class Layers:
    """The settings of a command, merged as the parser merges them; each value knows where it stands."""

    def __init__(self, schema: Schema):
        self.schema = schema
        self.settings: dict[str, Node] = {}
        self.problems: list[Problem] = []

    def add_file(self, path: Path, name: str = "") -> None:
        try:
            content, problems = reading.read(path, name)
        except reading.UnreadableError as unreadable:
            self.problems.append(unreadable.problem)
            return
        self.problems += problems
        for key, node in content.items():
            self.add(key, node)

    def add_flags(self, flags: Sequence[str]) -> None:
        """Configs and settings of a command line, in their order."""
        for name, value in _pairs(flags):
            if not name:
                self.problems.append(Problem(_stray(value)))
            elif name == "config":
                self.add_file(Path(value).expanduser(), value)
            elif name.partition("=")[0] not in _ELSE and not name.endswith(".help"):
                self._add_flag(name, value)

    def add(self, key: str, node: Node) -> None:
        """One section of a file."""
        if key not in SECTIONS:
            self.problems.append(self._unknown_section(key, node))
            return
        self.settings[key] = self._merged(self.settings.get(key), node, self.schema.sections[key])

    def _unknown_section(self, key: str, node: Node) -> Problem:
        owners = self._elsewhere("")
        if key in FOREIGN:
            return Problem(f"unknown section {key}{node.place}; {FOREIGN[key]}.")
        near = f"; did you mean {owners[key]}?" if key in owners else nearest(key, SECTIONS)
        return Problem(f"unknown section {key}{node.place}{near}")

    def _add_flag(self, name: str, value: str) -> None:
        section, *rest = name.removesuffix("+").split(".")
        parts = [part for part in rest if part not in CLASS_KEYS or part == "class_path"]
        if section not in SECTIONS or (rest and rest[0] == "dict_kwargs"):
            if section not in SECTIONS:
                self.problems.append(self._unknown_flag(name))
            return
        node = reading.parse_flag(value)
        for part in reversed(parts):
            node = Node({part: node})
        expected = self._expected(section, parts)
        if expected is None:
            if self._is_shortened(name) or not parts:
                return
            self.problems.append(self._unknown_flag(name))
        elif not (name.endswith("+") or "callbacks" in parts):
            self.settings[section] = self._merged(self.settings.get(section), node, self.schema.sections[section])

    def expected(self, key: str) -> dict[str, Any] | None:
        """What a key takes, by its name on the command line; None where there is no such key."""
        section, *parts = key.split(".")
        return self._expected(section, [p for p in parts if p not in CLASS_KEYS]) if section in SECTIONS else None

    def _expected(self, section: str, parts: list[str]) -> dict[str, Any] | None:
        """What the flag's key takes; {} where nothing is known, None where there is no such key."""
        expected, at = self.schema.sections[section], self.settings.get(section)
        if section == "trainer" and not self.schema.exact:
            return {}
        for part in parts:
            if part == "class_path":
                return {}
            base = _class_base(expected)
            if base:
                path = _class_path(at)
                definition = self.schema.definition(path, base) if path else None
                if definition is None:
                    return {}
            else:
                definition = next((d for d in self._branches(expected) if "properties" in d), None)
                if definition is None:
                    return {}
            known = definition["properties"]
            checks = checking.Checking(self.schema, {})
            if part not in known:
                return {} if checks._in_source(definition, part) else None
            expected, at = known[part], _argument(at, part)
        return expected

    def _branches(self, expected: dict[str, Any]) -> list[dict[str, Any]]:
        return [self.schema.resolved(branch) for branch in expected.get("anyOf", [expected])]

    def _is_shortened(self, name: str) -> bool:
        """argparse takes the beginning of a flag for the flag."""
        return sum(f"{known}".startswith(name) for known in self.flags()) >= 1

    def _unknown_flag(self, name: str) -> Problem:
        known = self.flags()
        if "." not in name:
            shorthands = (self.data_class() or {}).get("x-shorthands", {})
            own = [*SECTIONS, "config", "name", "run", "resume", "allow-change", "print_config", *shorthands]
            longer = [k for k in [*known, *self._of_any_class()] if k.rpartition(".")[2] == name.replace("-", "_")]
            near = longer[0] if longer else nearest_word(name, own)
            if not longer and (key := name.replace("-", "_")) in FOREIGN:
                return Problem(f"unknown flag --{name}; {FOREIGN[key]}.")
            return Problem(f"unknown flag --{name}" + (f"; did you mean --{near}?" if near else "."))
        parent, _, leaf = name.rpartition(".")
        if leaf in FOREIGN:
            return Problem(f"unknown flag --{name}; {FOREIGN[leaf]}.")
        beside = [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == parent]
        near = nearest_word(leaf, beside)
        if not near:
            same = [k for k in known if k.rpartition(".")[2] == leaf]
            best = same[0] if same else "" if beside else nearest_word(name, known)
            few = f"; {parent} has {', '.join(beside)}." if 0 < len(beside) <= checking.FEW else "."
            return Problem(f"unknown flag --{name}" + (f"; did you mean --{best}?" if best else few))
        return Problem(f"unknown flag --{name}; did you mean --{parent}.{near}?")

    def _of_any_class(self) -> list[str]:
        """Keys of every task and data module of zoo."""
        return [
            f"{section}.{key}"
            for section, base in _CLASSES.items()
            for name in self.schema.subclasses(base)
            for key in self.schema.definitions[name]["properties"]
        ]

    def flags(self) -> list[str]:
        """Every key that these settings could have, as the command line names it."""
        found = [*SECTIONS]
        for section in ("model", "data", "trainer", "checkpoint"):
            base = _CLASSES.get(section)
            path = _class_path(self.settings.get(section))
            definition = (
                (self.schema.definition(path, base) or {})
                if base
                else self.schema.resolved(self.schema.sections[section])
            )
            found += [f"{section}.{name}" for name in definition.get("properties", {})]
            found += [f"{section}.{n}.{inner}" for n, p in definition.get("properties", {}).items()
                      for inner in self._inner(p, _argument(self.settings.get(section), n))]  # fmt: skip
        return found

    def _inner(self, expected: dict[str, Any], at: Node | None) -> list[str]:
        resolved = self.schema.resolved(expected)
        if base := _class_base(expected):
            resolved = self.schema.definition(_class_path(at), base) or {}
        return [*resolved.get("properties", {})]

    def class_path(self, section: str) -> str:
        return _class_path(self.settings.get(section))

    def data_class(self) -> dict[str, Any] | None:
        path = self.class_path("data")
        return self.schema.definition(path, "zoo.DataModule") if path else None

    # Merging ----------------------------------------------------------------------------------------------------

    def _merged(self, old: Node | None, new: Node, expected: dict[str, Any]) -> Node:
        if new.value is UNKNOWN or (old is not None and old.value is UNKNOWN):
            return Node(UNKNOWN, new.place)
        base = _class_base(expected)
        if base and isinstance(new.value, (dict, str)):
            return self._merged_class(old, new, base)
        definition = self.schema.resolved(expected)
        if isinstance(new.value, str) and "properties" in definition and Path(new.value).is_file():
            return Node(UNKNOWN, new.place)
        if "properties" not in definition or not isinstance(new.value, dict):
            return new
        values = dict(old.value) if old and isinstance(old.value, dict) else {}
        for key, node in new.value.items():
            if key.endswith("+") and key.removesuffix("+") in definition["properties"]:
                values[key.removesuffix("+")] = _appended(values.get(key.removesuffix("+")), node)
            else:
                values[key] = self._merged(values.get(key), node, definition["properties"].get(key, {}))
        return Node(values, new.place)

    def _merged_class(self, old: Node | None, new: Node, base: str) -> Node:
        if isinstance(new.value, str):
            if Path(new.value).is_file():
                return Node(UNKNOWN, new.place)
            new = Node({"class_path": Node(new.value, new.place, new.text)}, new.place)
        spec, known = dict(new.value), _class_path(old)
        before = dict(old.value["init_args"].value) if old and known else {}
        if "class_path" not in spec and not {"init_args", "dict_kwargs"} & spec.keys() and known:
            spec = {"init_args": Node(spec, new.place)}
        path = _class_path(Node(spec)) or known
        arguments = spec.get("init_args", Node({}, new.place))
        if not path or not isinstance(arguments.value, dict):
            return Node(UNKNOWN if arguments.value is UNKNOWN else spec, new.place)
        definition = self.schema.definition(path, base)
        properties = definition["properties"] if definition else {}
        if path != known:
            before = {k: v for k, v in before.items() if definition is None or k in properties}
        for key, node in arguments.value.items():
            before[key] = self._merged(before.get(key), node, properties.get(key, {}))
        kept = {k: v for k, v in (old.value if old and known else {}).items() if k == "class_path"}
        return Node({**kept, **spec, "init_args": Node(before, arguments.place)}, new.place)

    # Checks -----------------------------------------------------------------------------------------------------

    def check(self) -> list[Problem]:
        """Everything that is wrong, in the order of the sections, without repeats."""
        found = [*self.problems]
        for section, node in self.settings.items():
            expected = self.schema.sections[section]
            if section == "trainer" and not self.schema.exact:
                continue
            checks = checking.Checking(self.schema, self._elsewhere(section))
            if node.value is not UNKNOWN and not isinstance(node.value, (dict, str)) and section != "seed_everything":
                found.append(Problem(f"{section} is {node.plain()!r}{node.place}; expected a mapping of settings."))
            elif isinstance(node.value, str) and not _class_base(expected) and section != "seed_everything":
                found.append(
                    Problem(f"{section} is the text {node.text!r}{node.place}; a colon wants a space behind it.")
                )
            else:
                found += checks.value(section, node, expected)
        if not found and {*_CLASSES} <= self.settings.keys():
            found += [problem for section in self.settings for problem in self._guarded(section)]
        return [*dict.fromkeys(found)]

    def _elsewhere(self, section: str) -> dict[str, str]:
        """Keys of the other sections, by their last part."""
        keys = [key for key in reversed(self.flags()) if "." in key and key.partition(".")[0] != section]
        return {key.rpartition(".")[2]: key for key in keys}

    def _guarded(self, section: str) -> Iterator[Problem]:
        """What the constructors would refuse."""
        node = self.settings[section]
        for path, given in self._classes(section, node, self.schema.sections[section]):
            definition = self.schema.definition(path) or {"properties": {}}
            values = {name: p["default"] for name, p in definition["properties"].items() if "default" in p}
            values |= {name: child.plain() for name, child in given.items()}
            found = source.of_class(*definition.get("x-home", path).rpartition(".")[::2])
            for message, about in guards.complaints(found, values):
                places = [given[name].place for name in about if name in given and given[name].place]
                yield Problem(_placed(message, places[0] if places else ""))

    def _classes(self, key: str, node: Node, expected: dict[str, Any]) -> Iterator[tuple[str, dict[str, Node]]]:
        """Classes with their arguments, at any depth."""
        if node.value is UNKNOWN:
            return
        if isinstance(node.value, list):
            for child in node.value:
                yield from self._classes(key, child, {"x-class": "any"})
            return
        if _class_base(expected) and (path := _class_path(node)):
            given = node.value.get("init_args") if isinstance(node.value, dict) else None
            values = given.value if given is not None and isinstance(given.value, dict) else {}
            properties = (self.schema.definition(path) or {}).get("properties", {})
            yield path, values
        elif isinstance(node.value, dict):
            definition = self.schema.resolved(expected)
            properties, values = definition.get("properties", {}), node.value
            if "x-home" in definition:
                yield definition["x-home"], values
        else:
            return
        for name, child in values.items():
            yield from self._classes(f"{key}.{name}", child, properties.get(name, {}))

    def plain(self, section: str) -> dict[str, Any]:
        """The merged settings of a section, without class paths."""
        node = self.settings.get(section)
        if node is None or not isinstance(node.value, dict):
            return {}
        inner = node.value.get("init_args", node) if section in _CLASSES else node
        return inner.plain() if isinstance(inner.value, dict) else {}

    def node(self, section: str, name: str) -> Node:
        found = _argument(self.settings.get(section), name)
        return found or Node(None)


def check(schema: Schema, command: str, flags: Sequence[str], own: Path | None = None) -> tuple[list[Problem], Layers]:
    """Everything that is wrong with a command's settings, as far as it can be known without torch.

    Args:
        own: the config of the run that is resumed, tested …: it comes before those of the command line.
    """
    layers = Layers(schema)
    layers.add_file(DEFAULTS, "zoo/defaults.yaml")
    if own:
        layers.add_file(own)
    layers.add_flags(flags)
    problems = layers.check()
    if not problems and not {"model", "data"} <= layers.settings.keys():
        missing = [section for section in ("model", "data") if section not in layers.settings]
        problems = [Problem(f"{' and '.join(missing)} not set: zoo {command} --config configs/quickstart.yaml, say; "
                            f"zoo list shows the others.")]  # fmt: skip
    return problems or machine.check(layers, command, restored=own is not None), layers


def _pairs(flags: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(name, value) of every flag; ("", word) for a word that belongs to none."""
    i = 0
    while i < len(flags):
        flag, i = flags[i], i + 1
        if flag in _SHOWN_AS_HELP or flag.startswith("--print_config"):
            continue
        if not flag.startswith("--"):
            yield "", flag
        elif "=" in flag:
            name, _, value = flag[2:].partition("=")
            yield name, value
        elif i < len(flags) and not flags[i].startswith("--"):
            yield flag[2:], flags[i]
            i += 1
        else:
            yield flag[2:], ""


def _stray(word: str) -> str:
    if word.endswith((".yaml", ".yml")):
        return f"{word} belongs to no flag; did you mean --config {word}?"
    return f"{word!r} belongs to no flag" + (f"; did you mean -{word}?" if word.startswith("-") else ".")


def _class_base(expected: dict[str, Any]) -> str:
    branches = [expected, *expected.get("anyOf", [])]
    return next((branch["x-class"] for branch in branches if "x-class" in branch), "")


def _class_path(node: Node | None) -> str:
    value = node.value if node is not None else None
    if isinstance(value, dict):
        value = value["class_path"].value if "class_path" in value else None
    return value if isinstance(value, str) else ""


def _argument(node: Node | None, name: str) -> Node | None:
    value = node.value if node is not None else None
    if isinstance(value, dict) and "init_args" in value:
        value = value["init_args"].value
    return value.get(name) if isinstance(value, dict) else None


def _appended(old: Node | None, new: Node) -> Node:
    before = (
        old.value
        if old is not None and isinstance(old.value, list)
        else []
        if old is None or old.value is None
        else [old]
    )
    return Node([*before, *(new.value if isinstance(new.value, list) else [new])], new.place)


def _placed(message: str, place: str) -> str:
    """The place of a setting in a constructor's own words."""
    before, semicolon, after = message.partition(";")
    return f"{before}{place}{semicolon}{after}" if semicolon else f"{message.rstrip('.')}{place}."
