"""The signature of a class, read from its source: nothing is imported or run.

Where something cannot be known (a base out of reach, arguments that are passed on in some other way), the answer is
that it is not known, and the class itself is asked after the imports.
"""

import ast
import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_NAMES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean", "None": "null"}
_FAR = 8
"""Imports that are followed, one behind the other."""
_MAY_DEFINE = r"import \*|__getattr__|globals\(|setattr\(|exec\("
"""What in a module may give it names that are not written in it."""


@dataclass
class Signature:
    """What a constructor takes. A class without one passes everything on.

    Args:
        path: of the class, where it is written.
        properties: by name, with type, default and description where they are plain.
        bases: dotted paths, as far as they are known; "" where not.
        passes_on: whether further keywords go to the bases' constructors.
        fixed: what it passes to them itself.
        samples: names of the classes that a task takes or a data module yields; none where it does not say so itself.
        shorthands: of a data module.
    """

    path: str
    summary: str
    properties: dict[str, dict[str, Any]]
    required: list[str]
    bases: list[str]
    passes_on: bool
    fixed: set[str]
    samples: list[str]
    shorthands: dict[str, str]


class NotThereError(Exception):
    """There is certainly no such module, or no such class in it.

    Args:
        word: what is missing.
        known: what could have been meant.
    """

    def __init__(self, what: str, word: str, known: list[str]):
        super().__init__(what)
        self.word, self.known = word, known


def find(path: str, far: int = _FAR) -> Signature | None:
    """Of the class of a dotted path; None where it cannot be told without importing.

    Raises:
        NotThereError: no such module or class.
    """
    module, _, name = path.rpartition(".")
    file = _file(module) if module and far else None
    tree = _parsed(file) if file else None
    if file is None or tree is None:
        return None
    is_package = file.name == "__init__.py"
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if name in classes:
        return _signature(classes[name], module, is_package, tree)
    if origin := _imported(name, module, is_package, tree):
        try:
            return find(origin, far - 1)
        except NotThereError:
            return None
    if is_package or re.search(rf"\b{re.escape(name)}\b|{_MAY_DEFINE}", ast.unparse(tree)):
        return None
    raise NotThereError(f"{module} ({file.name}) has no class {name}", name, [*classes])


def _file(module: str) -> Path | None:
    """The file of a module, without importing its parents; None where it cannot be told.

    Raises:
        NotThereError: there is no module of its first name.
    """
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    if spec is None:
        here = sorted(path.stem for path in Path().glob("*.py"))
        raise NotThereError(f"there is no module {first} here, nor is one installed", first, here)
    folders = [Path(folder, *rest) for folder in spec.submodule_search_locations or ()]
    files = [file for folder in folders for file in (folder / "__init__.py", folder.with_suffix(".py"))]
    own = [Path(spec.origin).absolute()] if spec.origin and spec.has_location and not rest else []
    return next((file for file in own or files if file.suffix == ".py" and file.is_file()), None)


@cache
def _parsed(file: Path) -> ast.Module | None:
    try:
        return ast.parse(file.read_text("utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None


def _imported(name: str, module: str, is_package: bool, tree: ast.Module) -> str:
    """Where a name of a module is imported from; "" where it is not imported there."""
    inside = [node.body for node in tree.body if isinstance(node, (ast.If, ast.Try))]  # as `if TYPE_CHECKING`
    for node in [*tree.body, *(inner for body in inside for inner in body)]:
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        for alias in node.names:
            if (alias.asname or alias.name.partition(".")[0]) != name:
                continue
            if isinstance(node, ast.Import):
                return alias.name if alias.asname else name
            parts = module.split(".")
            above = parts[: len(parts) - node.level + is_package] if node.level else []
            return ".".join([*above, *filter(None, [node.module]), alias.name])
    return ""


def _signature(node: ast.ClassDef, module: str, is_package: bool, tree: ast.Module) -> Signature | None:
    """None where the constructor is not a plain one."""
    methods = {found.name: found for found in node.body if isinstance(found, ast.FunctionDef)}
    init = methods.get("__init__", _PLAIN)
    passed = _passed_on(init)
    if passed is None or "__new__" in methods or init.decorator_list or init.args.vararg or init.args.posonlyargs:
        return None
    named = init.args.args[1:]
    values = [*[None] * (len(named) - len(init.args.defaults)), *init.args.defaults, *init.args.kw_defaults]
    arguments = [(a.arg, a.annotation, v) for a, v in zip([*named, *init.args.kwonlyargs], values, strict=True)]
    annotated = [found for found in node.body if isinstance(found, ast.AnnAssign)]
    assigned = {ast.unparse(found.targets[0]): found.value for found in node.body if isinstance(found, ast.Assign)}
    assigned |= {ast.unparse(found.target): found.value for found in annotated if found.value}
    samples = [assigned[name] for name in ("sample_types", "sample_type") if name in assigned][:1]
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        arguments = [(ast.unparse(found.target), found.annotation, found.value) for found in annotated]
    summary, about = _docs(node)
    return Signature(
        path=f"{module}.{node.name}",
        summary=summary,
        properties={name: {**_type(hint), **_default(v), **about.get(name, {})} for name, hint, v in arguments},
        required=[name for name, _, value in arguments if value is None],
        bases=[_dotted(base, module, is_package, tree) for base in node.bases],
        passes_on=passed[0],
        fixed=passed[1],
        samples=[name.rpartition(".")[2] for found in samples for name in re.findall(r"[\w.]+", ast.unparse(found))],
        shorthands=_literal(assigned.get("shorthands")) or {},
    )


_PLAIN: Any = ast.parse("def __init__(self, **kwargs): super().__init__(**kwargs)").body[0]
"""What a class without a constructor has."""


def _dotted(base: ast.expr, module: str, is_package: bool, tree: ast.Module) -> str:
    """What the name of a base stands for, by the imports of its file."""
    first, dot, rest = ast.unparse(base).partition(".")
    origin = _imported(first, module, is_package, tree) or f"{module}.{first}"
    return f"{origin}{dot}{rest}" if first.isidentifier() else ""


def _passed_on(init: ast.FunctionDef) -> tuple[bool, set[str]] | None:
    """Whether **kwargs go to super().__init__, and what else does; None where they may go elsewhere."""
    if init.args.kwarg is None:
        return False, set()
    calls = [node for node in ast.walk(init) if isinstance(node, ast.Call)]
    call = next((node for node in calls if ast.unparse(node.func) == "super().__init__"), None)
    name = init.args.kwarg.arg
    uses = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(init))
    if call is None or call.args or uses > 1 or all(k.arg or ast.unparse(k.value) != name for k in call.keywords):
        return None
    return True, {k.arg for k in call.keywords if k.arg}


def _docs(node: ast.ClassDef) -> tuple[str, dict[str, dict[str, Any]]]:
    """The first paragraph of the docstring, and what it says of each argument (as in this file)."""
    text = ast.get_docstring(node) or ""
    about = re.split(r"^    (\w+): ", text.partition("Args:\n")[2].partition("\n\n")[0], flags=re.M)
    described = zip(about[1::2], about[2::2], strict=True)
    return " ".join(text.partition("\n\n")[0].split()), {
        name: {"description": " ".join(said.split())} for name, said in described
    }


def _type(hint: ast.expr | None) -> dict[str, Any]:
    """The schema of an annotation made of plain types; {} for others."""
    if isinstance(hint, (ast.Constant, ast.Name)) and (kind := _NAMES.get(ast.unparse(hint))):
        return {"type": kind}
    if isinstance(hint, ast.BinOp) and isinstance(hint.op, ast.BitOr):
        either = [_type(hint.left), _type(hint.right)]
        return {} if {} in either else {"anyOf": [b for one in either for b in one.get("anyOf", [one])]}
    if isinstance(hint, ast.Subscript) and ast.unparse(hint.value).rpartition(".")[2] == "Literal":
        choices = _literal(hint.slice)
        return {"enum": [*choices] if isinstance(choices, tuple) else [choices]} if choices is not None else {}
    return {}


def _default(node: ast.expr | None) -> dict[str, Any]:
    value = _literal(node)
    return {"default": value} if value is not None or (node and ast.unparse(node) == "None") else {}


def _literal(node: ast.AST | None) -> Any:
    try:
        return None if node is None else ast.literal_eval(ast.unparse(node))
    except (ValueError, SyntaxError):
        return None
