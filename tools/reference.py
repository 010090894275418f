"""Write what is made of the code: command line, config keys, classes of the Python API, the tree of the house's map.

    uv run python tools/reference.py

Run it when a key, a help text, a command, a file or its first line has changed; tests/docs/test_site.py says when that
is due.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zoo
from zoo.command import help
from zoo.command.invocation import COMMANDS, OTHERS
from zoo.command.settings.schema import load

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
_TREE_BEGINS, _TREE_ENDS, _COLUMN = "```\nzoo/\n", "configs/  ", 30
_CLI = """\
# Command line

This page is written by `tools/reference.py` from the program's own help.

A command is `zoo COMMAND`, or `uv run zoo COMMAND` inside a clone. Help and mistakes are answered before torch is
imported. What the codes mean that a command ends with is on the page [Exit codes](exit_codes.md).
"""
_CONFIG = """\
# Config keys

This page is written by `tools/reference.py` from `zoo/command/schema.json`.

A config is a YAML file with the sections `model`, `data`, `trainer`, `checkpoint` and the key `seed_everything`.
`model` and `data` name a class by `class_path` and give its arguments in `init_args`. Every key is a flag too:
`model.init_args.max_length` in a file is `--model.max_length 256` on the command line.

Settings are merged in this order, and the later one wins: `zoo/command/defaults.yaml`, each `--config` from left to
right, then flags. `--print_config` prints the result with every default, and trains nothing.

A list such as `callbacks:` replaces the list of an earlier file, and `callbacks+:` appends to it.

`--config` takes a file of yours, or the name of a config that comes with zoo (`zoo list` shows them):
`--config quickstart`, `--config overlays/early_stopping`, with or without `.yaml`. A file of that path in the working
directory comes first. `zoo init quickstart` writes a copy to edit. Relative paths in a config begin in the working
directory, as they do on the command line, and not in the folder of the config.
"""
_INTRODUCTIONS = {
    "zoo.Trainer": (
        "trainer",
        "These are the keys that zoo documents or changes. The others are those of Lightning's "
        "[Trainer](https://lightning.ai/docs/pytorch/stable/common/trainer.html). The last column of the table is "
        "empty for them. `zoo/command/defaults.yaml` sets some defaults, and these are the ones shown here.",
    ),
    "zoo.Checkpoints": ("checkpoint", ""),
    "zoo.Task": ("model, in every task", "A task of your own has these keys, and those of its constructor."),
    "zoo.DataModule": ("data, in every data module", "A data module of your own has these keys as well."),
    "zoo.EMA": ("callback zoo.EMA", ""),
    "zoo.TrigramBaseline": ("callback zoo.TrigramBaseline", ""),
}


def cli() -> str:
    parts = [_CLI, _block("zoo --help", help.overview())]
    said = {name: help.command(name, []) for name in COMMANDS}
    said |= {name: importlib.import_module(f"zoo.command.{name}").USAGE for name in OTHERS}
    parts += [f"## zoo {name}\n\n{_block(f'zoo {name} --help', text)}" for name, text in said.items()]
    return "\n".join(parts)


def _block(command: str, said: str) -> str:
    return f"```text\n$ {command}\n{said.rstrip()}\n```\n"


def config() -> str:
    schema = load()
    ours = {name: found for name, found in schema.definitions.items() if name.startswith("zoo.")}
    tasks, data = schema.subclasses("zoo.Task"), schema.subclasses("zoo.DataModule")
    order = [*(n for n in tasks if n in ours), *(n for n in data if n in ours), "zoo.Trainer", "zoo.Checkpoints"]
    order += ["zoo.Task", "zoo.DataModule", *schema.subclasses("lightning.pytorch.callbacks.Callback")]
    order = [name for name in order if name in ours]
    parts = [_CONFIG]
    for name in order:
        title, about = _INTRODUCTIONS.get(name, (_section(name, tasks, data), ""))
        parts.append(f"## {title}\n\n{_sentence(ours[name].get('description', ''))} {about}".rstrip() + "\n")
        if rows := [*_rows(title.partition(" ")[0].rstrip(","), name, ours[name])]:
            parts.append("\n".join(["| key | takes | default | meaning |", "|---|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _section(name: str, tasks: list[str], data: list[str]) -> str:
    kind = "model" if name in tasks else "data" if name in data else "class"
    return f"{kind} {name}"


def _rows(section: str, name: str, definition: dict[str, Any]) -> Iterator[str]:
    schema, prefix = load(), f"{section}." if section in ("model", "data", "trainer", "checkpoint") else ""
    for key, expected in definition["properties"].items():
        yield _row(f"{prefix}{key}", expected, key in definition.get("x-required", []), _default(name, key, expected))
        inner = schema.resolved(expected)
        for below, more in inner.get("properties", {}).items() if "x-home" in inner else ():
            yield _row(f"{prefix}{key}.{below}", more, False, more.get("default"))


def _default(name: str, key: str, expected: dict[str, Any]) -> Any:
    ours = help.Settings(load())
    ours.add_file(help.DEFAULTS)
    node = ours.node("trainer", key) if name == "zoo.Trainer" else None
    return node.plain() if node is not None and node.value is not None else expected.get("default")


def _row(key: str, expected: dict[str, Any], required: bool, default: Any) -> str:
    shown = "**required**" if required else "" if default is None else f"`{_yaml(default)}`"
    about = re.sub(r"\s*Default: \S+$", "", expected.get("description", ""))
    cells = [f"`{key}`", kind(expected), shown, _sentence(about)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _yaml(value: Any) -> str:
    if isinstance(value, str):
        return value.replace("\n", "\\n") or "''"
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if not text or text.endswith((".", "…")) else ".")


def kind(expected: dict[str, Any]) -> str:
    """What a key takes, in words."""
    if "x-class" in expected:
        return f"a class: {expected['x-class']}"
    if "anyOf" in expected:
        branches = [kind({**{k: v for k, v in expected.items() if k != "anyOf"}, **b}) for b in expected["anyOf"]]
        return " or ".join(dict.fromkeys(branch for branch in branches if branch))
    if "enum" in expected:
        return ", ".join(f"`{_yaml(choice)}`" for choice in expected["enum"])
    if "$ref" in expected:
        return "a group of keys"
    types = expected.get("type", [])
    types = sorted([types] if isinstance(types, str) else types, key="null".__eq__)
    names = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
    names |= {"array": "list", "object": "mapping", "null": "null"}
    said = [names[t] for t in types]
    numbers = " or ".join(word for word in said if "number" in word)
    words = [" ".join([numbers, *_limits(expected)]) if numbers else "", *(w for w in said if "number" not in w)]
    return " or ".join(word for word in words if word)


def _limits(expected: dict[str, Any]) -> Iterator[str]:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    yield from (f"{word} {expected[name]}" for name, word in words.items() if name in expected)


def architecture() -> str:
    """The map of the house with the tree as it is: every file, by the first line of its docstring."""
    page = (DOCS / "architecture.md").read_text("utf-8")
    begin, end = page.index(_TREE_BEGINS) + len(_TREE_BEGINS), page.index(_TREE_ENDS)
    return page[:begin] + "\n".join(_tree(ROOT / "zoo")) + "\n" + page[end:]


def _tree(folder: Path, depth: int = 1) -> Iterator[str]:
    inside = [p for p in folder.iterdir() if p.suffix == ".py" or (p.is_dir() and any(p.glob("*.py")))]
    for path in sorted(inside, key=lambda p: (p.is_dir(), p.name)):
        name = "  " * depth + path.name + "/" * path.is_dir()
        said = _first_line(path / "__init__.py" if path.is_dir() else path)
        if said or path.name != "__init__.py":
            yield f"{name:<{_COLUMN}}{said}".rstrip()
        if path.is_dir():
            yield from _tree(path, depth + 1)


def _first_line(path: Path) -> str:
    said = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "") if path.is_file() else ""
    return said.partition("\n")[0].rstrip(".")


def python() -> str:
    """The page of the Python API with every public task, data module and callback that there is."""
    page = (DOCS / "reference" / "python.md").read_text("utf-8")
    for room in ("tasks", "data", "callbacks"):
        found = sorted((home, name) for name, home in zoo._HOMES.items() if home.startswith(f"zoo.{room}."))
        blocks = [f"::: {home}.{name}\n    options: {{heading_level: 3, members: []}}\n" for home, name in found]
        page = re.sub(rf"(?:::: zoo\.{room}\.\S+\n    options:.*\n\n?)+", "\n".join([*blocks, ""]), page, count=1)
    return page.rstrip() + "\n"


PAGES = {
    "reference/cli.md": cli,
    "reference/config.md": config,
    "reference/python.md": python,
    "architecture.md": architecture,
}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
        print(f"written: docs/{name}")


if __name__ == "__main__":
    main()
