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
_MAY_DEFINE = r"import \*|__getattr__|globals\(|setattr\(|exec\("
"""What in a module may give it names that are not written in it."""


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


def of_class(path: str) -> Source | None:
    """As `find`, for a class that is there."""
    try:
        return find(path)
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
    if file.name == "__init__.py" or re.search(rf"\b{re.escape(name)}\b|{_MAY_DEFINE}", ast.unparse(tree)):
        return None
    raise NotThereError(f"{module} ({file.name}) has no class {name}", name, [*classes])


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
            if parents.origin and (tree := _parsed(Path(parents.origin))) and tree.body:
                return None  # it may be defined in the package's own file
            raise NotThereError(f"{'.'.join([first, *rest[: i - 1]])} has no module {part}", part, _modules(parents))
    return Path(spec.origin).absolute() if spec.origin and spec.has_location else None


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
    first, _, rest = ast.unparse(node).partition(".")
    if not first.isidentifier():
        return ""
    for imported in source.tree.body:
        for alias in imported.names if isinstance(imported, (ast.Import, ast.ImportFrom)) else []:
            origin = f"{imported.module}." if isinstance(imported, ast.ImportFrom) else ""
            if (alias.asname or alias.name) == first and not getattr(imported, "level", 0):
                return f"{origin}{alias.name}" + (f".{rest}" if rest else "")
            if not origin and not alias.asname and alias.name.partition(".")[0] == first:
                return ast.unparse(node)
    return f"{source.module}.{ast.unparse(node)}"


@dataclass
class Arguments:
    """What a constructor takes.

    Args:
        properties: by name, with type and default where they are plain.
        passes_on: whether further keywords go to the bases' constructors.
        fixed: what it passes to them itself.
    """

    properties: dict[str, dict[str, Any]]
    required: list[str]
    passes_on: bool
    fixed: set[str]


def arguments(source: Source) -> Arguments | None:
    """Of the class's own constructor; None where it is not a plain one. A class without one passes everything on."""
    init = source.method("__init__")
    if any("dataclass" in ast.unparse(decorator) for decorator in source.node.decorator_list):
        fields = [node for node in source.node.body if isinstance(node, ast.AnnAssign)]
        pairs: list[tuple[str, ast.expr | None, ast.expr | None]]
        pairs = [(ast.unparse(node.target), node.annotation, node.value) for node in fields]
        passed: tuple[bool, set[str]] | None = (True, set())
    elif init is None:
        return Arguments({}, [], True, set()) if source.method("__new__") is None else None
    elif init.decorator_list or init.args.vararg or init.args.posonlyargs:
        return None
    else:
        named = init.args.args[1:]
        defaults = [*[None] * (len(named) - len(init.args.defaults)), *init.args.defaults, *init.args.kw_defaults]
        pairs = [(a.arg, a.annotation, d) for a, d in zip([*named, *init.args.kwonlyargs], defaults, strict=True)]
        passed = _passed_on(init)
    if passed is None:
        return None
    properties = {name: {**describe(hint), **_default(default)} for name, hint, default in pairs}
    return Arguments(properties, [name for name, _, default in pairs if default is None], *passed)


def _passed_on(init: ast.FunctionDef) -> tuple[bool, set[str]] | None:
    """Whether **kwargs go to super().__init__, and what else does; None where they may go elsewhere."""
    calls = [node for node in ast.walk(init) if isinstance(node, ast.Call)]
    call = next((node for node in calls if ast.unparse(node.func) == "super().__init__"), None)
    name = init.args.kwarg.arg if init.args.kwarg else None
    if name is None:
        return False, set()
    uses = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(init))
    passes_on = any(k.arg is None and ast.unparse(k.value) == name for k in call.keywords) if call else False
    if call is None or call.args or not passes_on or uses > 1:
        return None
    return True, {k.arg for k in call.keywords if k.arg}


def docs(source: Source) -> tuple[str, dict[str, str]]:
    """The first paragraph of the docstring, and what it says of each argument (as in this file)."""
    text = ast.get_docstring(source.node) or ""
    about = re.split(r"^    (\w+): ", text.partition("Args:\n")[2].partition("\n\n")[0], flags=re.M)
    return " ".join(text.partition("\n\n")[0].split()), {
        name: " ".join(said.split()) for name, said in zip(about[1::2], about[2::2], strict=True)
    }


def names(source: Source) -> set[str]:
    """Arguments that the class's own constructor has, whatever else it does."""
    init = source.method("__init__")
    known = arguments(source)
    own = {arg.arg for arg in [*init.args.args, *init.args.kwonlyargs]} if init else set()
    return own | ({*known.properties} if known else set())


def describe(hint: ast.expr | None) -> dict[str, Any]:
    """The schema of an annotation made of plain types; {} for others."""
    if isinstance(hint, ast.Constant) and hint.value is None:
        return {"type": "null"}
    if isinstance(hint, ast.Name) and hint.id in _NAMES:
        return {"type": _NAMES[hint.id]}
    if isinstance(hint, ast.BinOp) and isinstance(hint.op, ast.BitOr):
        either = [describe(hint.left), describe(hint.right)]
        return {} if {} in either else {"anyOf": [b for one in either for b in one.get("anyOf", [one])]}
    if isinstance(hint, ast.Subscript) and ast.unparse(hint.value).rpartition(".")[2] == "Literal":
        choices = _literal(hint.slice)
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
