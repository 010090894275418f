"""What the pages say of zoo is so: keys exist, links between tables and code hold."""

import ast
import re
from typing import Any

import pytest
from doc_pages import PAGES, ROOT, Page

from zoo.command.settings.schema import load

KEY = re.compile(r"(?:`|--)((?:model|data|trainer|checkpoint)\.[a-z_]+(?:\.[a-z_0-9]+)*)")


def takes(section: str, keys: list[str]) -> bool:
    schema = load()
    if section in ("model", "data"):
        base = {"model": "zoo.Task", "data": "zoo.DataModule"}[section]
        candidates: list[Any] = [schema.definitions[name] for name in schema.subclasses(base)]
    else:
        candidates = [schema.resolved(schema.sections[section])]
    for key in keys:
        found = [c["properties"][key] for c in candidates if key in c.get("properties", {})]
        if not found:
            return False
        found = [branch for f in found for branch in f.get("anyOf", [f])]  # a class or null
        bases = [f["x-class"] for f in found if "x-class" in f]
        candidates = [schema.definitions[name] for base in bases for name in schema.subclasses(base)]
        candidates += [schema.resolved(f) for f in found if "x-class" not in f]
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.stem)
def test_every_key_that_the_page_names_exists(page: Page):
    own = {key for block in page.files for key in re.findall(r"(\w+): \w+ = ", block.text)}
    shown = "".join(block.text for block in page.blocks if block.kind == "console")  # mistakes, to show the answer
    named = {tuple(key.split(".")) for key in KEY.findall(page.text)} - {
        tuple(k.split(".")) for k in KEY.findall(shown)
    }
    unknown = [
        ".".join(key)
        for key in named
        if not takes(key[0], [k for k in key[1:] if k != "init_args"]) and key[1] not in own
    ]
    assert unknown == []


# Messages ---------------------------------------------------------------------------------------------------------


def literals() -> list[str]:
    """Every text in the source, with … for what is filled in."""
    found = []
    for path in (ROOT / "zoo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


LITERALS = literals()
TROUBLES = next(page for page in PAGES if page.path.stem == "troubleshooting")


@pytest.mark.parametrize("message", re.findall(r"^`(.+)`\n:   ", TROUBLES.text, re.MULTILINE))
def test_the_message_is_one_that_zoo_says(message: str):
    parts = [re.escape(part) for part in message.split("…")]
    pattern = re.compile(".*".join(parts), re.DOTALL)
    assert any(pattern.search(text) for text in LITERALS)
