"""From the parser's report of a wrong setting to one line: what, where, found, expected or nearest."""

import difflib
import importlib
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_NOISE = re.compile(r"^(Does not validate|Subtypes:|Errors:|Expected a path but|Given value type:|$)")

_INSTEAD = {
    "streaming": "training reads no stream, as the order of its samples is a function of the step. Set data.limit to a "
    "number of documents, which are read from the hub once and kept, or name a local copy."
}
"""Settings that other libraries have, and what zoo has in their place."""


def readable(message: str, known_keys: Iterable[str], configs: Iterable[str], flags: Iterable[str] = ()) -> str:
    """One line for a message of jsonargparse.

    Args:
        known_keys: dotted names of all settings, for the nearest one.
        configs: files in which the wrong key may stand, unless it is one of the flags.
    """
    named = {part for flag in flags if flag.startswith("--") for part in flag[2:].partition("=")[0].split(".")}
    wrong = re.findall(r"ption '([\w.+]+)'|Parser key \"([\w.]+)\"", message)
    configs = [] if wrong and (wrong[-1][0] or wrong[-1][1]).rpartition(".")[2] in named else list(configs)
    if unknown := re.search(r"(?:Subcommand|Group) '?\w+'? does not accept (?:nested )?option '([\w.+]+)'", message):
        key = unknown[1]
        return f"unknown key {key}{_place(key, configs)}{_nearest(key, known_keys)}"
    if unknown := re.search(r"unrecognized arguments: (--)?([\w.]+)", message):
        return f"unknown flag --{unknown[2]}{_nearest(unknown[2], known_keys)}"
    if unknown := re.search(r"Option '([\w.]+)' is not accepted", message):
        key, section = unknown[1], ".".join(_keys(message))
        names = _arguments(message)
        return f"unknown key {section}.{key}{_place(key, configs)}{_nearest(key, names)}"
    if message.startswith("Problems parsing config"):
        return re.sub(r"\s+", " ", message.replace('in "<unicode string>", ', "")) + "."
    return _wrong_value(message, configs)


def _wrong_value(message: str, configs: Iterable[str]) -> str:
    key = ".".join(_keys(message))
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    reasons = [x for x in lines if not _NOISE.match(x) and not x.startswith(("Parser key", "Problem with", "Given"))]
    reasons = [x for x in reasons if "NoneType" not in x] or reasons
    if not key or not reasons:
        return re.sub(r"\s+", " ", message)
    reason = re.sub(r"<class '([\w.]+)'>", lambda name: name[1].rpartition(".")[2], reasons[0])
    reason = re.sub(r"^Expected an? (\w+)", r"expected \1", reason)
    reason = re.sub(r"^Type .+? expects a function or a callable class: ", "", reason).split(". Got value: Namespace")[
        0
    ]
    given = re.search(r"Given value: (.*)", message)
    found = f"; found {given[1]!r}" if given and "Got value" not in reason and "{" not in given[1] else ""
    missing = re.search(r"module '([\w.]+)' has no attribute '(\w+)'", reason)
    near = _nearest(missing[2], dir(importlib.import_module(missing[1]))) if missing else "."
    return f"{key}{_place(key.rpartition('.')[2], configs)}: {reason}{found}{near}"


def _keys(message: str) -> list[str]:
    return re.findall(r'Parser key "([\w.]+)"', message)


def _arguments(message: str) -> list[str]:
    """Arguments of the class that the message names last, those of its bases too."""
    paths = re.findall(r"class_path='?([\w.]+)|class_path '([\w.]+)'", message)
    flat = [a or b for a, b in paths]
    if not flat:
        return []
    try:
        module, _, name = flat[-1].rpartition(".")
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return []
    names: set[str] = set()
    for base in inspect.getmro(found):
        own = vars(base).get("__init__")
        names |= set(inspect.signature(own).parameters) - {"self", "args", "kwargs"} if callable(own) else set()
    return sorted(names)


def _nearest(key: str, known: Iterable[str]) -> str:
    names = list(known)
    leaf = key.rpartition(".")[2]
    if leaf in _INSTEAD:
        return f": {_INSTEAD[leaf]}"
    near = difflib.get_close_matches(key, names, 1, 0.6) or difflib.get_close_matches(leaf, names, 1, 0.6)
    near = near or [name for name in names if name.rpartition(".")[2] == leaf][:1]
    return f"; did you mean {near[0]}?" if near else "."


def _place(key: str, configs: Iterable[str]) -> str:
    """ " at file:line" of the first config that has the key."""
    leaves = key.split(".")
    for config in configs:
        path = Path(config)
        if not path.is_file():
            continue
        for leaf in (leaves[-1], leaves[0]):
            for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
                if re.search(rf"(^|[\s{{,]){re.escape(leaf)}\s*:", line):
                    return f" at {path}:{number}"
    return ""
