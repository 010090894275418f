"""The constructors' own checks (`if batch_size < 1: raise ConfigError(…)`), run alone.

They stay the one place where a range is written: here they are taken from the source of the class and evaluated on the
settings, without the class; editors get them as minimum and maximum.
"""

import ast
import builtins
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from zoo import errors
from zoo.settings.source import Source, arguments, bases

_SAFE = (
    "isinstance",
    "getattr",
    "len",
    "min",
    "max",
    "any",
    "all",
    "sum",
    "abs",
    "int",
    "float",
    "str",
    "bool",
    "round",
)
_GLOBALS = {"__builtins__": {name: getattr(builtins, name) for name in _SAFE}, "ConfigError": errors.ConfigError}
_SIDES: dict[type, str] = {
    ast.Lt: "minimum",
    ast.LtE: "exclusiveMinimum",
    ast.Gt: "maximum",
    ast.GtE: "exclusiveMaximum",
}


def complaints(source: Source | None, values: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """What the constructor and those of its bases would say to these settings, and the settings that it is about.

    Args:
        values: by name, defaults included; what is not known is left out, and then no check that needs it is run.
    """
    for constructor in _of_class(source, set()):
        said = (said for statement in constructor if (said := _said(statement, values)))
        if (message := next(said, None)) is not None:  # what it says next may be a consequence
            names = {str(n) for statement in constructor for n in _words(statement)}
            mentioned = [name for name in values if name in names and re.search(rf"\b{name}\b", message)]
            yield message, mentioned


def _said(statement: ast.stmt, values: dict[str, Any]) -> str | None:
    try:
        code = compile(ast.Module([statement], []), "check", "exec")
        exec(code, dict(_GLOBALS), {**values, "self": SimpleNamespace(**values)})
    except errors.ConfigError as error:
        return str(error)
    except Exception:  # it needs more than the settings: the constructor itself will say
        return None
    return None


def _words(statement: ast.stmt) -> Iterator[Any]:
    for node in ast.walk(statement):
        yield getattr(node, "id", getattr(node, "attr", getattr(node, "value", "")))


def _of_class(source: Source | None, fixed: set[str]) -> Iterator[list[ast.stmt]]:
    """The checks of a class and of its bases, by constructor, without those about what it gives to its bases itself."""
    if source is None:
        return
    for name in ("__init__", "__post_init__"):
        method = source.method(name)
        if method:
            yield [s for s in method.body if _is_check(s) and not fixed & {*_words(s)}]
    own = arguments(source)
    if own is None or own.fixed is None or not own.passes_on:
        return
    for base in bases(source):
        if isinstance(base, Source):
            yield from _of_class(base, fixed | own.fixed | {*own.properties})


def _is_check(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.For):
        return all(_is_check(inner) for inner in statement.body) and not statement.orelse
    if not isinstance(statement, ast.If) or statement.orelse or len(statement.body) != 1:
        return False
    raised = statement.body[0]
    return (
        isinstance(raised, ast.Raise)
        and isinstance(raised.exc, ast.Call)
        and "ConfigError" in ast.unparse(raised.exc.func)
    )


# For editors ----------------------------------------------------------------------------------------------------


def limits(source: Source | None) -> dict[str, dict[str, Any]]:
    """The ranges in the checks of a constructor, by argument, as JSON Schema has them."""
    found: dict[str, dict[str, Any]] = {}
    for statement in (statement for constructor in _of_class(source, set()) for statement in constructor):
        for test, names in _tests(statement):
            for name, side, bound in _bounds(test):
                for meant in names.get(name, [name]):
                    found.setdefault(meant, {})[side] = bound
    return found


def _tests(statement: ast.stmt) -> Iterator[tuple[ast.expr, dict[str, list[str]]]]:
    """Conditions that are refused, and what the name of a loop stands for."""
    if isinstance(statement, ast.If):
        yield statement.test, {}
    if (
        isinstance(statement, ast.For)
        and isinstance(statement.target, ast.Tuple)
        and isinstance(statement.iter, ast.Tuple)
    ):
        pairs = [e for e in statement.iter.elts if isinstance(e, ast.Tuple)]
        value = ast.unparse(statement.target.elts[-1])
        for inner in statement.body:
            if isinstance(inner, ast.If):
                yield inner.test, {value: [ast.unparse(pair.elts[-1]) for pair in pairs]}


def _bounds(test: ast.expr) -> Iterator[tuple[str, str, float]]:
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        for part in test.values:
            yield from _bounds(part)
    elif isinstance(test, ast.BoolOp):  # `value is not None and value < 1`
        yield from _bounds(test.values[-1]) if len(test.values) == 2 else ()
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from _inside(test.operand)
    elif isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and len(test.ops) == 1:
        side, bound = _SIDES.get(type(test.ops[0])), _number(test.comparators[0])
        if side and bound is not None:
            yield test.left.id, side, bound


def _inside(test: ast.expr) -> Iterator[tuple[str, str, float]]:
    """Of `not 0 < x <= 1`."""
    for part in test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]:
        if not isinstance(part, ast.Compare):
            continue
        terms = [part.left, *part.comparators]
        for left, operation, right in zip(terms, part.ops, terms[1:], strict=False):
            if isinstance(right, ast.Name) and (low := _number(left)) is not None and type(operation) in _SIDES:
                yield right.id, {ast.Lt: "exclusiveMinimum", ast.LtE: "minimum"}.get(type(operation), ""), low
            if isinstance(left, ast.Name) and (high := _number(right)) is not None and type(operation) in _SIDES:
                yield left.id, {ast.Lt: "exclusiveMaximum", ast.LtE: "maximum"}.get(type(operation), ""), high


def _number(node: ast.expr) -> float | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) else None
