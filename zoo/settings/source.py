"""The signature of a class, read from its source: nothing is imported or run.

Where something cannot be known (a base out of reach, arguments that are passed on in some other way), the answer is
that it is not known, and the parser has the last word.
"""

import ast
import importlib.util
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

_NAMES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean", "None": "null"}
_FAR = 8


@dataclass(frozen=True)
class Source:
    """A class in its file."""

    module: str
    node: ast.ClassDef = field(compare=False)
    tree: ast.Module = field(compare=False)

    @property
    def path(self) -> str:
        return f"{self.module}.{self.node.name}"

    def method(self, name: str) -> ast.FunctionDef | None:
        return next((n for n in self.node.body if isinstance(n, ast.FunctionDef) and n.name == name), None)

    def constant(self, name: str) -> Any:
        """What the class body assigns to the name, if it is written out."""
        for node in self.node.body:
            targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
            if any(isinstance(t, ast.Name) and t.id == name for t in targets):
                return _literal(getattr(node, "value", None))
        return None


class NotThereError(Exception):
    """There is certainly no such module, or no such class in it.

    Args:
        word: what is missing.
        known: what could have been meant.
    """

    def __init__(self, what: str, word: str, known: list[str]):
        super().__init__(what)
        self.word, self.known = word, known


def find(path: str, far: int = _FAR) -> Source | None:
    """The class of a dotted path; None where that cannot be told without importing.

    Raises:
        NotThereError: no such module or class.
    """
    module, _, name = path.rpartition(".")
    if not module or not far:
        return None
    module = _home(module, name)
    file = _file(module)
    if file is None or file.suffix != ".py":
        return None
    return _in_module(module, file, name, far)


def of_class(module: str, name: str) -> Source | None:
    """As `find`, for a class that is there."""
    try:
        return find(f"{module}.{name}")
    except NotThereError:
        return None


def _in_module(module: str, file: Path, name: str, far: int) -> Source | None:
    tree = _parsed(file)
    if tree is None:
        return None
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if name in classes:
        return Source(module, classes[name], tree)
    for node in tree.body:
        for alias in node.names if isinstance(node, ast.ImportFrom) else []:
            if (alias.asname or alias.name) == name:
                return _imported(module, file, node, alias.name, far)  # type: ignore[arg-type]
    if file.name == "__init__.py" or not _is_plain(tree, name):
        return None
    raise NotThereError(f"{module} ({file.name}) has no class {name}", name, [*classes])


def _is_plain(tree: ast.Module, name: str) -> bool:
    """Whether every name of a module can be told from its top, and this is none of them."""
    plain = (ast.ClassDef, ast.FunctionDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
    if not all(isinstance(node, plain) for node in tree.body):
        return False  # a branch, a loop: anything may be defined in it
    names = {n.id for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign)) for n in ast.walk(node)
             if isinstance(n, ast.Name)}  # fmt: skip
    names |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    imported = [alias for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names]
    names |= {(alias.asname or alias.name).partition(".")[0] for alias in imported}
    calls = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    return not {name, "*", "__getattr__"} & names and not {"globals", "setattr", "exec"} & calls


def _imported(module: str, file: Path, node: ast.ImportFrom, name: str, far: int) -> Source | None:
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    origin = ".".join(filter(None, [package if node.level else "", node.module or ""]))
    try:
        return find(f"{origin}.{name}", far - 1)
    except NotThereError:
        return None


def _home(module: str, name: str) -> str:
    """Where a public name of zoo lives."""
    if module == "zoo":
        import zoo

        return zoo._HOMES.get(name, module)
    return module


def _file(module: str) -> Path | None:
    """The file of a module, without importing its parents.

    Raises:
        NotThereError: there is none.
    """
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    here = sorted(p.stem for p in Path().glob("*.py"))
    if spec is None:
        raise NotThereError(f"there is no module {first} here, nor is one installed", first, here)
    for i, part in enumerate(rest, 1):
        if spec.submodule_search_locations is None:
            return None  # an attribute of a module
        parents, name = spec, ".".join([first, *rest[:i]])
        spec = PathFinder.find_spec(name, parents.submodule_search_locations)
        if spec is None:
            if parents.origin and _may_define(Path(parents.origin), part):
                return None
            raise NotThereError(f"{'.'.join([first, *rest[: i - 1]])} has no module {part}", part, _modules(parents))
    return Path(spec.origin).absolute() if spec.origin and spec.has_location else None


def _may_define(file: Path, name: str) -> bool:
    tree = _parsed(file) if file.suffix == ".py" else None
    return tree is None or any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(tree)) or bool(tree.body)


def _modules(spec: Any) -> list[str]:
    return sorted(p.stem for folder in spec.submodule_search_locations for p in Path(folder).glob("[a-z]*"))


@cache
def _parsed(file: Path) -> ast.Module | None:
    try:
        return ast.parse(file.read_text("utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None


# Signatures -----------------------------------------------------------------------------------------------------


def bases(source: Source) -> list[Source | str]:
    """The direct bases: their source where it is found, else the dotted path as far as it is known ("" for not)."""
    found: list[Source | str] = []
    for base in source.node.bases:
        path = _dotted(base, source)
        try:
            found.append((find(path) if path else None) or path)
        except NotThereError:
            found.append("")
    return found


def _dotted(node: ast.expr, source: Source) -> str:
    """What a name in a file stands for, by the file's imports."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    for imported in source.tree.body:
        if isinstance(imported, ast.ImportFrom) and not imported.level:
            for alias in imported.names:
                if (alias.asname or alias.name) == node.id:
                    return ".".join([str(imported.module), alias.name, *parts])
        if isinstance(imported, ast.Import):
            for alias in imported.names:
                if (alias.asname or alias.name) == node.id:
                    return ".".join([alias.name, *parts])
                if not alias.asname and alias.name.partition(".")[0] == node.id:
                    return ".".join([node.id, *parts])
    return ".".join([source.module, node.id, *parts])


@dataclass
class Arguments:
    """What a constructor takes.

    Args:
        properties: by name, with type and default where they are plain.
        passes_on: whether further keywords go to the bases' constructors.
        fixed: what it passes to them itself; None where that cannot be told.
    """

    properties: dict[str, dict[str, Any]]
    required: list[str]
    passes_on: bool
    fixed: set[str] | None


def arguments(source: Source) -> Arguments | None:
    """Of the class's own constructor; None where it is not a plain one. A class without one passes everything on."""
    init = source.method("__init__")
    if any("dataclass" in ast.unparse(decorator) for decorator in source.node.decorator_list):
        fields = [node for node in source.node.body if isinstance(node, ast.AnnAssign)]
        known = {ast.unparse(node.target): {**describe(node.annotation), **_default(node.value)} for node in fields}
        return Arguments(known, [ast.unparse(node.target) for node in fields if node.value is None], True, set())
    if init is None:
        plain = not source.node.decorator_list and source.method("__new__") is None
        return Arguments({}, [], True, set()) if plain else None
    if init.decorator_list or init.args.vararg or init.args.posonlyargs:
        return None
    positional = init.args.args[1:]
    defaults = [None] * (len(positional) - len(init.args.defaults)) + [*init.args.defaults]
    pairs = [*zip(positional, defaults, strict=True), *zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)]
    properties = {arg.arg: {**describe(arg.annotation), **_default(default)} for arg, default in pairs}
    required = [arg.arg for arg, default in pairs if default is None]
    passes_on, fixed, popped = _passed_on(init)
    return Arguments(properties | {name: {} for name in popped}, required, passes_on, fixed)


def docs(source: Source) -> tuple[str, dict[str, str]]:
    """The first paragraph of the docstring, and what it says of each argument (as in this file)."""
    text = ast.get_docstring(source.node) or ""
    about: dict[str, str] = {}
    name = ""
    for line in text.partition("Args:\n")[2].splitlines():
        if not line.startswith("    "):
            break
        if begun := re.match(r"    (\w+): (.*)", line):
            name = begun[1]
            about[name] = begun[2]
        elif name:
            about[name] += f" {line.strip()}"
    return " ".join(text.partition("\n\n")[0].split()), about


def names(source: Source) -> set[str]:
    """Arguments that the class's own constructor has, whatever else it does."""
    init = source.method("__init__")
    known = arguments(source)
    own = {arg.arg for arg in [*init.args.args, *init.args.kwonlyargs]} if init else set()
    return own | ({*known.properties} if known else set())


def _passed_on(init: ast.FunctionDef) -> tuple[bool, set[str] | None, list[str]]:
    """Whether **kwargs go to super().__init__, what else does, and what is popped from them first."""
    name = init.args.kwarg.arg if init.args.kwarg else None
    calls = [node for node in ast.walk(init) if isinstance(node, ast.Call)]
    call = next((node for node in calls if ast.unparse(node.func) == "super().__init__"), None)
    if call is None:
        return False, None, []
    fixed = None if call.args else {k.arg for k in call.keywords if k.arg}
    passes_on = any(k.arg is None and isinstance(k.value, ast.Name) and k.value.id == name for k in call.keywords)
    takes = (f"{name}.pop", f"{name}.get")
    taken = [node.args[0] for node in calls if ast.unparse(node.func) in takes and node.args]
    popped = [str(node.value) for node in taken if isinstance(node, ast.Constant)]
    uses = sum(isinstance(n, ast.Name) and n.id == name for n in ast.walk(init)) if name else 0
    return passes_on, (fixed if uses <= len(popped) + passes_on else None), popped


def describe(annotation: ast.expr | None) -> dict[str, Any]:
    """The schema of an annotation made of plain types; {} for others."""
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return {"type": "null"}
    if isinstance(annotation, ast.Name) and annotation.id in _NAMES:
        return {"type": _NAMES[annotation.id]}
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        either = [describe(annotation.left), describe(annotation.right)]
        return {} if {} in either else {"anyOf": either}
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).rpartition(".")[2] == "Literal":
        choices = _literal(annotation.slice)
        return {"enum": [*choices] if isinstance(choices, tuple) else [choices]} if choices is not None else {}
    return {}


def _default(node: ast.expr | None) -> dict[str, Any]:
    value = _literal(node)
    return {"default": value} if value is not None or (isinstance(node, ast.Constant) and node.value is None) else {}


def _literal(node: ast.AST | None) -> Any:
    try:
        return None if node is None else ast.literal_eval(ast.unparse(node))
    except (ValueError, SyntaxError):
        return None
