"""Defaults, configs, overlays and flags, one on top of the other, and everything that is wrong with the result."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo import rules
from zoo.command.settings import config_file, environment, shipped
from zoo.command.settings.checking import CLASS_KEYS, Checking
from zoo.command.settings.config_file import Node
from zoo.command.settings.problems import FOREIGN, MISSING, Problem, nearest, nearest_word
from zoo.command.settings.schema import BASES, SECTIONS, Schema
from zoo.errors import typed
from zoo.files.paths import exists, expanded

DEFAULTS = Path(__file__).parent.parent / "defaults.yaml"
_IN_PYTHON = " in Python"
"""Where a value stands that comes from there."""
OWN_FLAGS = ("config", "name", "run", "resume", "allow-change", "print_config", "help")


class Settings:
    """The settings of a command, merged; each value knows where it stands."""

    def __init__(self, schema: Schema):
        self.schema = schema
        self.tree: dict[str, Node] = {}
        self.problems: list[Problem] = []

    def add_file(self, path: Path, name: str = "") -> None:
        try:
            content, problems = config_file.read(path, name)
        except config_file.UnreadableError as unreadable:
            self.problems.append(unreadable.problem)
            return
        self.problems += problems
        for key, node in content.items():
            self._add(key, node)

    def add_flags(self, flags: Sequence[str]) -> None:
        """Configs and settings of a command line, in their order; last what needs a class that comes after it."""
        later = []
        for name, value in _pairs(flags):
            section, *parts = (name or "").split(".")
            if name is None:
                self.problems.append(Problem(self._stray(str(value))))
            elif name == "config":
                path = value if isinstance(value, str) else ""
                self.add_file(*shipped.find(path)) if path else self.problems.append(Problem("--config needs a file."))
            elif section in SECTIONS and (section not in BASES or not parts or self.class_path(section)):
                self._add_flag(section, parts, value)
            else:
                later.append((name, value))
        is_readable = self.definition("data") is not None or not self.class_path("data") or self.schema.may_import
        for name, value in later:
            section, *parts = self.shorthands().get(name, name).split(".")
            if section in SECTIONS:
                self._add_flag(section, parts, value)
            elif is_readable and (self.class_path("data") or name not in self._shorthands_of_any()):
                self.problems.append(self._unknown_flag(name))

    def add_values(self, values: Mapping[str, Any]) -> None:
        """Settings from Python, by their names on the command line; `max_epochs` is trainer.max_epochs.

        A task or a data module takes the place of another one, with none of its arguments.
        """
        for name, value in values.items():
            section, *parts = name.split(".")
            if section in BASES and not parts:
                self.tree.pop(section, None)
            if section not in SECTIONS and name in self._properties(self.schema.sections["trainer"], None):
                section, parts = "trainer", [name]
            if section not in SECTIONS:
                self.problems.append(self._unknown_flag(name, "argument "))
                continue
            node = config_file.of_value(value, _IN_PYTHON)
            for part in reversed(parts):
                node = Node({part: node})
            self._add(section, node)

    def _add(self, key: str, node: Node) -> None:
        if key in SECTIONS:
            self.tree[key] = self._merged(self.tree.get(key), node, self.schema.sections[key])
            return
        known = self._elsewhere("")
        near = f"; did you mean {known[key]}?" if key in known else nearest(key, SECTIONS)
        near = f"; {FOREIGN[key]}." if key in FOREIGN else near
        self.problems.append(Problem(f"unknown section {key}{node.place}{near}"))

    def _add_flag(self, section: str, parts: list[str], value: Any) -> None:
        node = config_file.of_flag(value) if isinstance(value, str) else Node(value)
        for part in reversed(parts):
            node = Node({part: node})
        self._add(section, node)

    def _unknown_flag(self, name: str, kind: str = "flag --") -> Problem:
        leaf, known = name.rpartition(".")[2].replace("-", "_"), self.flags()
        same = [key for key in [*known, *self._of_any_class()] if key.rpartition(".")[2] == leaf]
        if leaf in FOREIGN:
            return Problem(f"unknown {kind}{name}; {FOREIGN[leaf]}.")
        if name in self._shorthands_of_any():
            ours = ", ".join(f"--{one}" for one in self.shorthands())
            return Problem(
                f"--{name} does not go with {' and '.join(filter(None, map(self.class_path, ('data', 'model'))))}"
                + (f", which has {ours}." if ours else ".")
            )
        near = same[0] if same else nearest_word(name, [*known, *self.shorthands(), *OWN_FLAGS])
        meant = f"--{near}" if kind.endswith("--") else near.removeprefix("trainer.")
        return Problem(f"unknown {kind}{name}" + (f"; did you mean {meant}?" if near else "."))

    def _shorthands_of_any(self) -> set[str]:
        classes = [*self.schema.subclasses("zoo.DataModule"), *self.schema.subclasses("zoo.Task")]
        found = map(self.schema.definitions.get, classes)
        return {name for one in found if one for name in one.get("x-shorthands", {})}

    def _stray(self, word: str) -> str:
        if word.endswith((".yaml", ".yml")):
            return f"{word} belongs to no flag; did you mean --config {word}?"
        if word.startswith("-"):
            return f"{word!r} belongs to no flag; did you mean -{word}?"
        is_file = "." in word or exists(expanded(word))
        return f"{word!r} belongs to no flag" + (f"; did you mean --data.train {word}?" if is_file else ".")

    # What could be set ------------------------------------------------------------------------------------------

    def flags(self) -> list[str]:
        """Every key that these settings could have, as the command line names it."""
        found = [*SECTIONS]
        inner = []
        for section in SECTIONS:
            properties = self._properties(self.schema.sections[section], self.tree.get(section))
            found += [f"{section}.{name}" for name in properties]
            for name, expected in properties.items():
                at = _argument(self.tree.get(section), name)
                inner += [f"{section}.{name}.{below}" for below in self._properties(expected, at)]
        return found + inner

    def expected(self, key: str) -> dict[str, Any]:
        """What a key takes, by its name on the command line; {} where there is no such key, or nothing is known."""
        section, *parts = key.split(".")
        expected, at = self.schema.sections.get(section, {}), self.tree.get(section)
        for part in (part for part in parts if part not in CLASS_KEYS):
            expected, at = self._properties(expected, at).get(part, {}), _argument(at, part)
        return expected

    def _properties(self, expected: dict[str, Any], at: Node | None) -> dict[str, Any]:
        """What may stand in a mapping."""
        if base := _class_base(expected):
            return (self.schema.definition(_path(at), base) or {}).get("properties", {}) if _path(at) else {}
        return self.schema.resolved(expected).get("properties", {})

    def _of_any_class(self) -> list[str]:
        """Keys of every task and data module of zoo."""
        return [
            f"{section}.{key}"
            for section, base in BASES.items()
            for name in self.schema.subclasses(base)
            for key in self.schema.definitions[name]["properties"]
        ]

    def _elsewhere(self, section: str) -> dict[str, str]:
        """Keys of the other sections, by their last part."""
        keys = [key for key in reversed(self.flags()) if "." in key and key.partition(".")[0] != section]
        return {key.rpartition(".")[2]: key for key in keys}

    def class_path(self, section: str) -> str:
        return _path(self.tree.get(section))

    def definition(self, section: str) -> dict[str, Any] | None:
        """What the class of a section takes."""
        path = self.class_path(section)
        return self.schema.definition(path, BASES[section]) if path else None

    def shorthands(self) -> dict[str, str]:
        found = [(self.definition(section) or {}).get("x-shorthands", {}) for section in ("data", "model")]
        return {name: key for shorthands in found for name, key in shorthands.items()}

    def node(self, section: str, name: str) -> Node:
        return _argument(self.tree.get(section), name) or Node(None)

    # Merging ----------------------------------------------------------------------------------------------------

    def _merged(self, old: Node | None, new: Node, expected: dict[str, Any]) -> Node:
        """Mappings are merged, everything else is replaced; key+ appends; a flag goes into the last of a list."""
        base = _class_base(expected)
        if old is not None and isinstance(old.value, list) and old.value and _goes_into(new):
            return Node([*old.value[:-1], self._merged(old.value[-1], new, expected)], old.place)
        if base and (isinstance(new.value, dict) or self._is_class(new.value, expected, base)):
            return self._merged_class(old, new, base)
        if not isinstance(new.value, dict):
            return new
        properties = self.schema.resolved(expected).get("properties")
        if properties is None and not (new.place == "" and not new.text):
            return new  # a mapping that is one value; a flag sets a key of it
        values = self._merged_keys(old.value if old else None, new.value, properties or {})
        return Node(values, new.place or (old.place if old else ""))

    def _is_class(self, value: Any, expected: dict[str, Any], base: str) -> bool:
        """Whether a text names a class, where it could be a word too (trainer.profiler: simple)."""
        takes_text = any("string" in str(branch.get("type")) for branch in expected.get("anyOf", []))
        return isinstance(value, str) and (not takes_text or "." in value or bool(self.schema.name(value, base)))

    def _merged_keys(self, old: Any, new: dict[str, Node], properties: dict[str, Any]) -> dict[str, Node]:
        values = dict(old) if isinstance(old, dict) else {}
        for key, node in new.items():
            name = key.removesuffix("+")
            if name != key and key in properties:
                before = values[name] if name in values else Node(None)
                lists = [one.value if isinstance(one.value, list) else [one] for one in (before, node) if one.value]
                values[name] = Node([one for some in lists for one in some], node.place)
            else:
                values[key] = self._merged(values.get(key), node, properties.get(key, {}))
        return values

    def _merged_class(self, old: Node | None, new: Node, base: str) -> Node:
        """Another class keeps those arguments that it takes too."""
        old, new = _spelt_out(old), _spelt_out(new) or new
        spec, known = dict(new.value), _path(old)
        if known and not {*CLASS_KEYS} & spec.keys():
            spec = {"init_args": Node(spec, new.place)}
        path = _path(Node(spec)) or known
        arguments = spec.get("init_args", Node({}, new.place))
        if not path or not isinstance(arguments.value, (dict, type(None))):
            return Node(self._merged_keys(old.value if old else None, spec, {}), new.place)
        before = old.value if old is not None and isinstance(old.value, dict) else {}
        if before and not {*CLASS_KEYS} & before.keys():  # arguments that stand before their class
            before = {"init_args": Node(before)}
        kept = before["init_args"].value if "init_args" in before else {}
        kept = kept if isinstance(kept, dict) else {}
        definition = self.schema.definition(path, base)
        properties = definition["properties"] if definition else {}
        if known and path != known:
            before = {}
            kept = {key: node for key, node in kept.items() if definition is None or key in properties}
        values = self._merged_keys(kept, arguments.value or {}, properties)
        spec["init_args"] = Node(values, arguments.place)
        if {"dict_kwargs"} & before.keys() & spec.keys():
            spec["dict_kwargs"] = self._merged(before["dict_kwargs"], spec["dict_kwargs"], {})
        return Node({**before, **spec}, new.place)

    # The result -------------------------------------------------------------------------------------------------

    def check(self, command: str, restored: bool = False) -> tuple[dict[str, Any], list[Problem]]:
        """The settings as constructors take them, and everything that is wrong with them, without repeats.

        Args:
            restored: whether they are used with the checkpoint of a run, so that pretrained weights are not read.
        """
        found, problems = {}, [*self.problems]
        missing = [section for section in BASES if section not in self.tree]
        for section, node in self.tree.items():
            checks = Checking(self.schema, self._elsewhere(section), not self.problems and not missing)
            found[section] = checks.value(section, node, self.schema.sections[section])
            problems += checks.problems
        if missing and not self.problems:
            example = f"{typed(f'zoo {command} --config quickstart')}, say; zoo list shows the others."
            problems.append(Problem(f"{' and '.join(missing)} not set: {example}"))
        problems += self._apart()
        problems += environment.check(self, command, restored)
        if all(problem.code == MISSING for problem in problems):
            problems += environment.look(self, command, found.get("data") or {})
        return found, [*dict.fromkeys(problems)]

    def _apart(self) -> Iterator[Problem]:
        """A task and data that do not go together, and what would."""
        task, data = ((self.definition(section) or {}).get("x-samples", ()) for section in BASES)
        if rules.apart(task, data):
            yield Problem(
                f"model is {self.class_path('model')}, which takes {rules.kinds(task)}, and data is "
                f"{self.class_path('data')}{self.tree['data'].place}, which yields {rules.kinds(data)}; set data to "
                f"{self._with('zoo.DataModule', task)}, or model to {self._with('zoo.Task', data)}."
            )

    def _with(self, base: str, samples: Collection[str]) -> str:
        found = self.schema.subclasses(base)
        fitting = [one for one in found if {*samples} & {*self.schema.definitions[one].get("x-samples", ())}]
        return " or ".join(fitting) or "another"


def merged(
    schema: Schema, flags: Sequence[str], own: Path | None = None, values: Mapping[str, Any] | None = None
) -> Settings:
    """Those of a command line.

    Args:
        own: the config of the run that is resumed, tested …: it comes before those of the command line.
        values: as `add_values` takes them; they come last.
    """
    settings = Settings(schema)
    settings.add_file(DEFAULTS, "zoo/command/defaults.yaml")
    if own:
        settings.add_file(own)
    settings.add_flags(flags)
    settings.add_values(values or {})
    return settings


def _pairs(flags: Sequence[str]) -> Iterator[tuple[str | None, Any]]:
    """(name, value) of every flag, ... for none; (None, word) for a word that belongs to none."""
    i = 0
    while i < len(flags):
        flag, i = flags[i], i + 1
        if flag in ("--help", "-h", "--print_config"):
            continue
        if not flag.startswith("--"):
            yield None, flag
        elif "=" in flag:
            yield flag[2:].partition("=")[0], flag.partition("=")[2]
        elif i < len(flags) and not flags[i].startswith("--"):
            yield flag[2:], flags[i]
            i += 1
        else:
            yield flag[2:], ...


def _class_base(expected: dict[str, Any]) -> str:
    branches = [expected, *expected.get("anyOf", [])]
    return next((branch["x-class"] for branch in branches if "x-class" in branch), "")


def _path(node: Node | None) -> str:
    value = node.value if node is not None else None
    if isinstance(value, dict):
        value = value["class_path"].value if "class_path" in value else None
    return value if isinstance(value, str) else ""


def _argument(node: Node | None, name: str) -> Node | None:
    value = node.value if node is not None else None
    if isinstance(value, list) and value:
        return _argument(value[-1], name)
    if isinstance(value, dict) and "init_args" in value:
        value = value["init_args"].value
    return value.get(name) if isinstance(value, dict) else None


def _spelt_out(node: Node | None) -> Node | None:
    """A class path alone, as a class."""
    return Node({"class_path": node}, node.place) if node and isinstance(node.value, str) else node


def _goes_into(new: Node) -> bool:
    return new.place == "" and isinstance(new.value, dict) and "class_path" not in new.value
