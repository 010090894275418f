"""Settings against what is expected of them, in one walk: what is wrong, and the values as constructors take them.

On doubt there is no complaint: the constructor has the last word.
"""

import sys
from collections.abc import Iterable
from typing import Any

from zoo import rules
from zoo.command.settings import static_signature
from zoo.command.settings.config_file import Node, number, of_flag
from zoo.command.settings.problems import FOREIGN, Problem, nearest, nearest_word, shown
from zoo.command.settings.schema import SECTIONS, Schema

CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")
_UNFIT = object()
_FEW = 16
_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


class Checking:
    """Walks a tree of settings.

    Args:
        elsewhere: full names of keys in other sections by their last part, for what stands in the wrong one.
        complete: whether everything was read, so that what is not there is not set.
    """

    def __init__(self, schema: Schema, elsewhere: dict[str, str], complete: bool = True):
        self.schema, self.elsewhere, self.complete = schema, elsewhere, complete
        self.problems: list[Problem] = []

    def value(self, key: str, node: Node, expected: dict[str, Any]) -> Any:
        """The value of a key for its constructor. What is wrong with it goes to `problems`."""
        expected = self.schema.resolved(expected)
        if node.value is ...:  # a flag without one
            self.problems.append(Problem(f"--{key} needs a value{_what(expected)}."))
            return None
        if "anyOf" in expected:
            return self._any(key, node, expected["anyOf"])
        if "x-class" in expected:
            return self.of_class(key, node, expected["x-class"])
        if "properties" in expected:
            return self._group(key, node, expected)
        found = _fitted(node, expected) if expected else node.plain()
        if found is _UNFIT:
            self.problems.append(Problem(_wrong(key, node, [expected])))
        elif isinstance(node.value, list) and isinstance(items := expected.get("items"), dict):
            return [self.value(f"{key}[{i}]", child, items) for i, child in enumerate(node.value)]
        return found

    def _any(self, key: str, node: Node, branches: list[dict[str, Any]]) -> Any:
        tries = []
        for branch in branches:
            attempt = Checking(self.schema, self.elsewhere, self.complete)
            value = attempt.value(key, node, branch)
            if not attempt.problems:
                return value
            tries.append((branch, attempt.problems))
        for branch, problems in tries:  # the branch that is meant has more to say
            is_list, is_mapping = branch.get("type") == "array", {"x-class", "properties"} & branch.keys()
            if (isinstance(node.value, list) and is_list) or (isinstance(node.value, dict) and is_mapping):
                self.problems += problems
                return None
        plain = [branch for branch in branches if "x-class" not in branch]
        self.problems += [Problem(_wrong(key, node, plain))] if plain and node.value is not None else tries[0][1]
        return None

    def _group(self, key: str, node: Node, expected: dict[str, Any]) -> Any:
        if isinstance(node.value, dict):
            return self._keys(key, node.value, expected, "")
        if node.value is None:
            line = f"{key} is empty{node.place}; leave it out, or set something in it."
        elif isinstance(node.value, str) and node.place and key in SECTIONS:
            line = f"{key} is the text {shown(node.text)}{node.place}; a colon wants a space behind it."
        else:
            line = f"{key} is {shown(node.plain())}{node.place}; expected settings (a file of them goes with --config)."
        self.problems.append(Problem(line))
        return None

    def _keys(
        self, key: str, given: dict[str, Node], expected: dict[str, Any], place: str, complete: bool = True
    ) -> dict[str, Any]:
        """The settings of a mapping.

        Args:
            complete: whether what is not given is certainly not set, and no misspelt key stands for it.
        """
        known, found = expected["properties"], {}
        values = {name: p["default"] for name, p in known.items() if "default" in p}
        complete &= self.complete
        for name, node in given.items():
            before = len(self.problems)
            if name in known:
                found[name] = self.value(f"{key}.{name}", node, known[name])
            elif self._may_take(expected, name):
                found[name] = node.plain()
            else:
                complete = False
                self.problems.append(Problem(self._unknown(key, name, node.place, known)))
            values.pop(name, None)
            if len(self.problems) == before:
                values[name] = found[name]
        for rule in map(rules.from_json, expected.get("x-rules", ())):
            names = rules.arguments(rule)
            if {*names} <= values.keys() and (complete or {*rule.names} <= given.keys()):
                line = rule.broken(values, f"{key}.")
                places = [given[name].place for name in names if name in given and given[name].place]
                what, semicolon, then = line.partition(";")
                if line:
                    self.problems.append(Problem(f"{what}{next(iter(places), place)}{semicolon}{then}."))
        return found

    def _unknown(self, key: str, name: str, place: str, known: Iterable[str]) -> str:
        what, full = ("key", f"{key}.{name}") if place else ("flag", f"--{key}.{name}")
        if name in FOREIGN:
            return f"unknown {what} {full}{place}; {FOREIGN[name]}."
        if name in self.elsewhere:
            return f"unknown {what} {full}{place}; it belongs to another section: {self.elsewhere[name]}."
        if near := nearest_word(name, known):
            return f"unknown {what} {full}{place}; did you mean {near if place else f'--{key}.{near}'}?"
        names = [one for one in known if not one.endswith("+")]
        few = f"; {'there are' if place else f'{key} has'} {', '.join(names)}" if 0 < len(names) <= _FEW else ""
        return f"unknown {what} {full}{place}{few}."

    def _may_take(self, expected: dict[str, Any], name: str) -> bool:
        """Whether the class takes the key all the same: added after the schema was written, or by another patch."""
        paths = [expected.get("x-home", "")]
        for path in paths:  # and those of its bases, as they are found
            if path.startswith("zoo."):
                found = self.schema.source(path)
                if found and name in found.properties:
                    return True
                paths += found.bases if found else []
            elif not self.schema.is_exact and not nearest_word(name, expected["properties"]):
                return True
        return False

    # Classes ----------------------------------------------------------------------------------------------------

    def of_class(self, key: str, node: Node, base: str) -> Any:
        """A class with its arguments: {class_path, init_args}, or the path alone."""
        spec = {"class_path": node} if isinstance(node.value, str) else node.value
        if not isinstance(spec, dict):
            empty = "is empty" if node.value is None else f"is {shown(node.plain())}"
            self.problems.append(Problem(f"{key} {empty}{node.place}; expected a class_path with init_args."))
            return None
        odd = [
            name for name in spec if name not in CLASS_KEYS and ("class_path" in spec or nearest_word(name, CLASS_KEYS))
        ]
        for name in odd:
            near = nearest(name, CLASS_KEYS)
            self.problems.append(Problem(f"unknown key {key}.{name}{spec[name].place}{near}"))
        path = getattr(spec.get("class_path"), "value", None)
        if not isinstance(path, str) or not path:
            if not odd:
                self.problems.append(Problem(f"{key} has no class_path{node.place}; expected one, with init_args."))
            return None
        place = spec["class_path"].place
        if path.endswith((".yaml", ".yml")):
            line = f"{key} is {shown(path)}{place}; expected a class path (a file of settings goes with --config)."
            self.problems.append(Problem(line))
            return None
        if problem := self._no_class(key, path, base, place):
            self.problems.append(problem)
            return None
        found: dict[str, Any] = {"class_path": self.schema.name(path, base) if "." not in path else path}
        if "dict_kwargs" in spec:
            found["dict_kwargs"] = spec["dict_kwargs"].plain()
        arguments: dict[str, Any] = {}
        definition, given = self.schema.definition(path, base), spec.get("init_args", Node({}, place))
        if not isinstance(given.value, (dict, type(None))):
            line = f"{key}.init_args is {shown(given.plain())}{given.place}; expected a mapping of arguments."
            self.problems.append(Problem(line))
        elif definition is None:
            arguments = given.plain()
        else:
            complete = not odd and "dict_kwargs" not in spec
            arguments = self._keys(key, given.value or {}, definition, place, complete)
            if complete and self.complete:
                self._missing(key, path, definition, given.value or {}, place)
        return {**found, "init_args": arguments} if arguments else found

    def _missing(self, key: str, path: str, definition: dict[str, Any], given: dict[str, Node], place: str) -> None:
        for name in definition["x-required"]:
            if name not in given:
                what = definition["properties"][name].get("description", "")
                why = f" ({what.rstrip('.')})" if what else ""
                line = f"{key}.{name} is not set, and {path}{place} needs it{why}."
                self.problems.append(Problem(line))

    def _no_class(self, key: str, path: str, base: str, place: str) -> Problem | None:
        """Why the path cannot be that of a class of this base."""
        module, _, name = path.rpartition(".")
        ours = self.schema.subclasses(base)
        if known := self.schema.name(path, base):
            if known in ours:
                return None
            fitting = ", ".join([one for one in ours if one.startswith("zoo.")] or ours[:_FEW])
            return Problem(f"{key} is {path}{place}; expected a {base.rpartition('.')[2]}: {fitting}.")
        if not module:
            near = nearest_word(name, [one.rpartition(".")[2] for one in ours])
            full = next((one for one in ours if near and one.rpartition(".")[2] == near), "")
            return Problem(f"{key} is {path}{place}; expected a class path" + (f", as {full}." if full else "."))
        if module.partition(".")[0] in sys.stdlib_module_names and not _is_own(module):
            what = f"of Python's standard library; expected a {base.rpartition('.')[2]}"
            return Problem(f"{key} is {path}{place}, something {what}.")
        if module == "__main__" and not hasattr(sys.modules[module], name):
            return Problem(
                f"{key} is {path}{place}, a class of a script or a notebook. Move it to a file, as my_lab.py, and name "
                f"it from there: --{key} my_lab.{name}."
            )
        public = self.schema.public(module)
        if public and name not in public:
            same = [one for one in ours if one.rpartition(".")[2] == name]
            near = nearest(name, [one.rpartition(".")[2] for one in ours if one.startswith(f"{module}.")], f"{module}.")
            return Problem(
                f"{key}: {module} has no class {name}{place}" + (f"; did you mean {same[0]}?" if same else near)
            )
        try:
            static_signature.find(path)
        except static_signature.NotThereError as missing:
            return Problem(f"{key}: {missing}{place}{nearest(missing.word, missing.known)}")
        return None


def _is_own(module: str) -> bool:
    from zoo.files import trust  # which takes as long to import as all the rest here

    return trust.is_own(module)


def _fitted(node: Node, expected: dict[str, Any]) -> Any:
    """The value in the type that is expected, or _UNFIT. Text in quotes, or of a flag, is read once more."""
    value = node.value
    is_flag = bool(node.text) and not node.place
    if "enum" in expected:
        if (same := next((c for c in expected["enum"] if c == value and type(c) is type(value)), _UNFIT)) is not _UNFIT:
            return same
        if node.text in expected["enum"]:
            return node.text
    kinds = _as_list(expected.get("type", []))
    if not kinds and "enum" not in expected:
        return node.plain()
    if isinstance(value, str) and not is_flag and "string" in kinds:
        return value if rules.within(value, expected) else _UNFIT
    found = _of_kind(value, kinds, expected)
    if found is _UNFIT and isinstance(value, str) and value:
        again = of_flag(value)
        if again.value is None and "null" in kinds:
            found = None
        elif isinstance(again.value, str):
            found = _of_kind(number(value), kinds, expected)
        else:
            found = _fitted(again, {**expected, "type": [kind for kind in kinds if kind != "string"]})
    if found is _UNFIT and "string" in kinds and is_flag:
        found = node.text if rules.within(node.text, expected) else _UNFIT
    elif found is not _UNFIT and isinstance(found, (dict, list)):
        found = node.plain() if found is value else found
    return found


def _of_kind(value: Any, kinds: list[str], expected: dict[str, Any]) -> Any:
    if value is None or isinstance(value, bool):
        return value if {None: "null", True: "boolean", False: "boolean"}[value] in kinds else _UNFIT
    if isinstance(value, int) and {"integer", "number"} & {*kinds}:
        return value if rules.within(value, expected) else _UNFIT
    if isinstance(value, float) and "number" in kinds:
        return value if rules.within(value, expected) else _UNFIT
    if isinstance(value, list) and "array" in kinds:
        return value if expected.get("minItems", len(value)) == len(value) else _UNFIT
    return value if isinstance(value, dict) and "object" in kinds else _UNFIT


def _wrong(key: str, node: Node, branches: list[dict[str, Any]]) -> str:
    found = node.plain()
    choices = [choice for branch in branches for choice in branch.get("enum", [])]
    kinds = [kind for branch in branches for kind in _as_list(branch.get("type", []))]
    sizes = [branch["minItems"] for branch in branches if "minItems" in branch]
    if isinstance(found, list) and sizes:
        return f"{key} has {len(found)} values{node.place}; expected {sizes[0]}."
    if set(kinds) <= {"string", "null"} and isinstance(found, (int, float, bool)) and not choices:
        return f"{key} is {shown(found)}{node.place}; expected text: put it in quotes, '{node.text or found}'."
    words = _words(branches)
    what = "empty" if found is None and not node.text else shown(found)
    if choices and not words:
        near = nearest_word(str(found), [str(choice) for choice in choices])
        hint = f"; did you mean {near}? One of" if near else "; one of"
        return f"{key} is {what}{node.place}{hint} {', '.join(map(str, choices))}."
    return f"{key} is {what}{node.place}; expected {' or '.join([*words, *map(str, choices)])}."


def _what(expected: dict[str, Any]) -> str:
    """ ": a whole number or auto"; nothing where there is nothing simple to say."""
    branches = expected.get("anyOf", [expected])
    said = [*_words(branches), *(str(choice) for branch in branches for choice in branch.get("enum", []))]
    return f": {' or '.join(said)}" if said else ""


def _words(branches: list[dict[str, Any]]) -> list[str]:
    """What the branches take, without their choices."""
    found: list[str] = []
    numbers = [rules.in_words(branch) for branch in branches if "number" in _as_list(branch.get("type", []))]
    for branch in branches:
        limits = rules.in_words(branch)
        for kind in _as_list(branch.get("type", [])):
            if kind == "integer" and limits in numbers:
                continue  # a number says it all
            if "x-words" in branch:
                found.append(limits)
            else:
                found.append(f"{_WORDS[kind]} {limits}" if limits and kind in ("integer", "number") else _WORDS[kind])
    return [*dict.fromkeys(sorted(found, key="null".__eq__))]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
