"""Who may import whom, and what the house forbids."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from zoo.command import help
from zoo.command.invocation import COMMANDS, OTHERS
from zoo.command.settings.schema import load

ROOT = Path(__file__).parent.parent
ROOMS = {
    "ground": ("errors constraints devices recorded rules samples streams", ""),
    "files": ("files", "ground"),
    "tokens": ("tokens", "ground files"),
    "images": ("images", "ground files"),
    "audio": ("audio", "ground files"),
    "models": ("models", "ground files images audio"),
    "loading": ("loading", "ground files"),
    "vram": ("vram", "ground"),
    "loop": ("loop", "ground files vram"),
    "classification": ("classification", "ground files loop"),
    "generation": ("generation", "ground files images loop classification"),
    "task": ("task", "ground loop"),
    "datamodule": ("datamodule", "ground files loading"),
    "runs": ("runs", "ground files loop task"),
    "tasks": ("tasks", "ground files tokens images audio models loop classification generation task runs"),
    "data": ("data", "ground files tokens images audio datamodule"),
    "callbacks": ("callbacks", "ground files loop task datamodule runs"),
    "trainer": ("trainer", "ground files vram loop datamodule runs callbacks"),
    "command": (
        "__main__ command",
        "ground files tokens images audio models vram loop task datamodule runs callbacks trainer",
    ),
}
"""From the ground up: what is in each room, and which rooms it may import beside itself. Nobody imports tasks and data:
they are met as class paths."""
FILES = sorted((ROOT / "zoo").rglob("*.py"))
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def part(path: Path) -> str:
    return path.relative_to(ROOT / "zoo").parts[0].removesuffix(".py")


def room_of(part: str) -> str:
    rooms = [room for room, (parts, _) in ROOMS.items() if part in parts.split()]
    assert len(rooms) == 1, f"zoo/{part} is in {rooms or 'no room'}; every file and folder belongs to one of ROOMS"
    return rooms[0]


def imported(path: Path) -> set[str]:
    """Files and folders of zoo that the file imports, anywhere in it but for type checking."""
    tree = ast.parse(path.read_text())
    typing_only = {id(n) for i in ast.walk(tree) if isinstance(i, ast.If) and "TYPE_CHECKING" in ast.unparse(i.test)
                   for n in ast.walk(i)}  # fmt: skip
    parts = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            parts |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("zoo.")}
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "zoo":
            names = node.module.split(".")
            parts |= {names[1]} if len(names) > 1 else {alias.name for alias in node.names}
    return parts


@pytest.mark.parametrize("path", [p for p in FILES if p.name != "__init__.py"], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(path: Path):
    room = room_of(part(path))
    allowed = {*([] if room == "tasks" else [room]), *ROOMS[room][1].split()}  # a task imports no other
    assert {other for other in imported(path) if room_of(other) not in allowed} == set()


def test_a_room_imports_only_rooms_below():
    assert [room for i, (room, (_, below)) in enumerate(ROOMS.items()) if not {*below.split()} <= {*[*ROOMS][:i]}] == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_stays_below_four_hundred_lines(path: Path):
    assert len(path.read_text().splitlines()) <= 400


def test_importing_zoo_imports_nothing_heavy():
    code = "import sys, zoo; print(sorted({'torch', 'lightning', 'transformers', 'datasets'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said.strip() == "[]"


def test_text_imports_no_other_modality():
    code = (
        "import sys, zoo; zoo.CausalLM; zoo.TextData; zoo.Trainer; import zoo.command.lightning_cli;"
        "others = {'diffusers', 'timm', 'sklearn', 'torchaudio', 'soundfile', 'av', 'soxr', 'pillow_heif'};"
        "print(sorted((others | {'zoo.data.images', 'zoo.audio'}) & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said.strip() == "[]"


def test_every_public_name_can_be_had():
    import zoo

    assert all(getattr(zoo, name).__name__ == name for name in zoo.__all__)


@pytest.mark.parametrize("room", ROOMS)
def test_the_map_of_the_house_says_what_a_room_may_import(room: str):
    row = next(line for line in ARCHITECTURE.splitlines() if line.startswith(f"| {room} |"))
    assert row.endswith(f"| {', '.join(ROOMS[room][1].split()) or 'nothing'} |")


def test_help_is_in_sentences():
    """No semicolon joins two of them, neither in the help of a command nor in what is said of a key."""
    schema = load()
    ours = [found for name, found in schema.definitions.items() if name.startswith("zoo.")]
    said = [text for one in ours for text in (one.get("description"), *_descriptions(one)) if text]
    said += [help.overview(), *(help.command(name, []) for name in COMMANDS)]
    said += [importlib.import_module(f"zoo.command.{name}").USAGE for name in OTHERS]
    assert [text for text in said if ";" in text] == []


def _descriptions(definition: dict[str, Any]) -> list[str]:
    return [key.get("description", "") for key in definition["properties"].values()]
