"""One value against what is expected of it. On doubt there is no complaint: the parser has the last word."""

from collections.abc import Iterable, Iterator
from typing import Any

from zoo.settings import source
from zoo.settings.problems import FOREIGN, Problem, nearest, nearest_word, shown
from zoo.settings.reading import Node, parse_flag
from zoo.settings.schema import Schema

UNKNOWN = ...
"""The value of a node about which nothing is said: a file of settings named instead of them, say."""
CLASS_KEYS = {"class_path", "init_args", "dict_kwargs"}
_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
FEW = 16
_PYTHON: dict[str, Any] = {"integer": int, "number": (int, float), "string": str, "array": list, "object": dict}


class Checking:
    """Walks a tree of settings.

    Args:
        elsewhere: full names of keys in other sections by their last part, for what stands in the wrong one.
    """

    def __init__(self, schema: Schema, elsewhere: dict[str, str]):
        self.schema, self.elsewhere = schema, elsewhere

    def value(self, key: str, node: Node, expected: dict[str, Any]) -> Iterator[Problem]:
        """What is wrong with the value of a key."""
        expected = self.schema.resolved(expected)
        if node.value is None or node.value is UNKNOWN or not expected:
            return
        if "anyOf" in expected:
            yield from self._any(key, node, expected["anyOf"])
        elif "x-class" in expected:
            yield from self.of_class(key, node, expected["x-class"])
        elif "properties" in expected:
            if isinstance(node.value, dict):
                yield from self.keys(key, node.value, expected)
        elif not _fits(node, expected):
            yield Problem(_wrong(key, node, [expected]))
        elif isinstance(node.value, list) and isinstance(items := expected.get("items"), dict):
            for i, child in enumerate(node.value):
                yield from self.value(f"{key}[{i}]", child, items)

    def _any(self, key: str, node: Node, branches: list[dict[str, Any]]) -> Iterator[Problem]:
        found = [[*self.value(key, node, branch)] for branch in branches]
        if [] in found:
            return
        for branch, problems in zip(branches, found, strict=True):  # the branch that is meant has more to say
            kind = "array" if isinstance(node.value, list) else "object"
            if isinstance(node.value, (list, dict)) and (branch.get("type") == kind or "x-class" in branch):
                if kind == "array" and branch.get("type") != "array":
                    continue
                yield from problems
                return
        plain = [branch for branch in branches if "x-class" not in branch]
        yield Problem(_wrong(key, node, plain)) if plain else found[0][0]

    def keys(self, key: str, values: dict[str, Node], expected: dict[str, Any]) -> Iterator[Problem]:
        known = expected["properties"]
        for name, node in values.items():
            if name in known:
                yield from self.value(f"{key}.{name}" if key else name, node, known[name])
            elif not self._in_source(expected, name):
                yield Problem(f"unknown key {key}.{name}{node.place}{self._instead(name, known)}")

    def _instead(self, name: str, known: Iterable[str]) -> str:
        if name in FOREIGN:
            return f"; {FOREIGN[name]}."
        if name in self.elsewhere:
            return f"; it belongs to another section: {self.elsewhere[name]}."
        near = nearest(name, known)
        if near == "." and 0 < len(names := [*known]) <= FEW:
            return f"; there are {', '.join(names)}."
        return near

    def _in_source(self, expected: dict[str, Any], name: str) -> bool:
        """Whether a class of zoo takes the key all the same, since it was changed after the schema was written."""
        home = expected.get("x-home", "")
        found = source.of_class(*home.rpartition(".")[::2]) if home.startswith("zoo.") else None
        above = [found] if found else []
        while above:
            one = above.pop()
            if name in source.names(one):
                return True
            above += [
                base for base in source.bases(one) if isinstance(base, source.Source) and base.path.startswith("zoo.")
            ]
        return False

    # Classes ----------------------------------------------------------------------------------------------------

    def of_class(self, key: str, node: Node, base: str) -> Iterator[Problem]:
        """A class with its arguments: {class_path, init_args}, or the path alone."""
        spec = {"class_path": node} if isinstance(node.value, str) else node.value
        if not isinstance(spec, dict):
            yield Problem(f"{key} is {shown(node.plain())}{node.place}; expected a class_path with init_args.")
            return
        if "class_path" in spec and (odd := [name for name in spec if name not in CLASS_KEYS | {"__path__"}]):
            for name in odd:
                yield Problem(f"unknown key {key}.{name}{spec[name].place}{nearest(name, CLASS_KEYS)}")
        if near := [name for name in spec if nearest_word(name, ["class_path"]) and name != "class_path"]:
            if "class_path" not in spec:
                yield Problem(f"unknown key {key}.{near[0]}{spec[near[0]].place}; did you mean class_path?")
            return
        if not isinstance(path := getattr(spec.get("class_path"), "value", None), str):
            return
        if problem := self._no_class(key, path, base, spec["class_path"].place):
            yield problem
            return
        definition = self.schema.definition(path, base)
        given = spec.get("init_args")
        if definition is None or given is None or given.value is None or given.value is UNKNOWN:
            given = Node({}, node.place)
        if not isinstance(given.value, dict):
            yield Problem(f"{key}.init_args is {shown(given.plain())}{given.place}; expected a mapping of arguments.")
        elif definition is not None:
            yield from self.keys(key, given.value, definition)
            place = spec["class_path"].place
            if "dict_kwargs" not in spec:
                yield from self._missing(key, path, definition, given.value, place)

    def _missing(
        self, key: str, path: str, definition: dict[str, Any], given: dict[str, Node], place: str
    ) -> Iterator[Problem]:
        for name in definition["x-required"]:
            if name not in given:
                what = definition["properties"][name].get("description", "")
                example = " as {class_path: torch.optim.AdamW, init_args: {lr: 1.0e-3}}" if name == "optimizer" else ""
                why = f" ({what.rstrip('.')})" if what else ""
                yield Problem(f"{key}.{name} is not set, and {path}{place} needs it{example or why}.")

    def _no_class(self, key: str, path: str, base: str, place: str) -> Problem | None:
        """Why the path cannot be that of a class of this base."""
        module, _, name = path.rpartition(".")
        if known := self.schema.name(path, base):
            other = self.schema.definitions[known]["x-base"]
            if other and base and other != base:
                fitting = [n for n in self.schema.subclasses(base) if n.startswith("zoo.")]
                one_of = f"; one of {', '.join(fitting)}" if fitting else ""
                return Problem(f"{key} is {path}{place}, which is no {base.rpartition('.')[2]}{one_of}.")
            return None
        if not module:
            return None
        public = self.schema.content["x-modules"].get(module, []) if self.schema.exact else []
        if module == "zoo":
            import zoo

            public = zoo.__all__
        if public and name not in public:
            classes = [n.rpartition(".")[2] for n in self.schema.subclasses(base) if n.startswith(f"{module}.")]
            return Problem(f"{key}: {module} has no class {name}{place}{nearest(name, classes, f'{module}.')}")
        try:
            source.find(path)
        except source.NotThereError as missing:
            return Problem(f"{key}: {missing}{place}{nearest(missing.word, missing.known)}")
        return None


def _fits(node: Node, expected: dict[str, Any]) -> bool:
    value = node.value
    if "enum" in expected:
        same = any(choice == value and type(choice) is type(value) for choice in expected["enum"])
        return same or node.text in expected["enum"] or _fits_parsed(node, expected)
    kinds = _as_list(expected.get("type", []))
    if not kinds:
        return True
    if isinstance(value, bool):
        return "boolean" in kinds
    if any(isinstance(value, _PYTHON[kind]) for kind in kinds if kind in _PYTHON):
        return not (isinstance(value, list) and expected.get("minItems", len(value)) != len(value))
    if "string" in kinds and not node.place and node.text:
        return True  # a flag is text to begin with
    return _fits_parsed(node, expected)


def _fits_parsed(node: Node, expected: dict[str, Any]) -> bool:
    """Text in quotes is read once more, as the parser does."""
    if not isinstance(node.value, str):
        return False
    parsed = parse_flag(node.value)
    if parsed.value is None:
        return bool(node.value)
    return not isinstance(parsed.value, str) and _fits(parsed, expected)


def _wrong(key: str, node: Node, branches: list[dict[str, Any]]) -> str:
    found = node.plain()
    choices = [choice for branch in branches for choice in branch.get("enum", [])]
    kinds = [kind for branch in branches for kind in _as_list(branch.get("type", []))]
    sizes = [branch["minItems"] for branch in branches if "minItems" in branch]
    if isinstance(found, list) and sizes:
        return f"{key} has {len(found)} values{node.place}; expected {sizes[0]}."
    if set(kinds) <= {"string", "null"} and isinstance(found, (int, float, bool)) and not choices:
        return f"{key} is {shown(found)}{node.place}; expected text: put it in quotes, '{node.text or found}'."
    words = [_WORDS[kind] for kind in dict.fromkeys(kinds) if not (kind == "integer" and "number" in kinds)]
    if not node.place and node.text == "" and found == "":
        return f"--{key} needs a value: {' or '.join([*words, *map(str, choices)])}."
    if choices and not words:
        near = nearest_word(str(found), [str(choice) for choice in choices])
        hint = f"; did you mean {near}? One of" if near else "; one of"
        return f"{key} is {shown(found)}{node.place}{hint} {', '.join(map(str, choices))}."
    return f"{key} is {shown(found)}{node.place}; expected {' or '.join([*words, *map(str, choices)])}."


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
