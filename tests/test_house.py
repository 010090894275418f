"""Who may import whom, and what the house forbids."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEAVES = {"errors", "paths", "trust"}
"""May be imported by every room."""
MAY_IMPORT = {
    "errors": set(),
    "paths": set(),
    "trust": set(),
    "quiet": set(),
    "samples": set(),
    "streams": set(),
    "optim": set(),
    "hub": set(),
    "broken": set(),
    "files": {"files", "hub", "samples"},
    "pictures": {"samples", "pictures"},
    "items": {"broken", "files", "samples"},
    "tokens": {"samples", "tokens"},
    "models": {"hub", "pictures", "models"},
    "microbatch": {"streams"},
    "checkpoint": set(),
    "recovery": {"microbatch", "streams"},
    "probe": {"microbatch", "recovery", "streams"},
    "means": {"microbatch"},
    "precision": set(),
    "task": {
        "microbatch",
        "means",
        "recovery",
        "probe",
        "precision",
        "optim",
        "streams",
        "samples",
        "checkpoint",
        "guards",
    },
    "guards": set(),
    "lock": set(),
    "signals": set(),
    "datamodule": {"files", "items", "samples", "streams", "broken"},
    "tasks": {"task", "samples", "tokens", "models", "streams", "microbatch", "optim", "pictures"},
    "data": {"datamodule", "files", "samples", "streams", "hub", "pictures", "data"},
    "metrics_csv": set(),
    "run": {"task", "checkpoint"},
    "callbacks": {
        *("task", "datamodule", "run", "metrics_csv", "callbacks", "checkpoint", "guards", "lock", "signals"),
        *("microbatch", "optim", "streams"),
    },
    "trainer": {"callbacks", "checkpoint", "precision", "probe", "datamodule"},
    "report": set(),
    "complaints": set(),
    "settings": {"settings", "callbacks"},  # callbacks only to describe them, in generate.py
    "helptext": {"settings"},
    "commands": {"settings", "run", "lock", "hub", "request", "commands"},
    "front": {"settings", "helptext", "request", "commands"},
    "request": {"run", "checkpoint", "lock", "settings"},
    "cli": {
        "task",
        "datamodule",
        "trainer",
        "recovery",
        "callbacks",
        "run",
        "checkpoint",
        "request",
        "report",
        "complaints",
        "quiet",
        "guards",
        "lock",
        "signals",
        "settings",
    },
    "__main__": {"cli", "front"},
}
FILES = sorted((ROOT / "zoo").rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT / "zoo").parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Rooms of zoo that the file imports, anywhere in it but for type checking."""
    tree = ast.parse(path.read_text())
    typing_only = {id(n) for i in ast.walk(tree) if isinstance(i, ast.If) and "TYPE_CHECKING" in ast.unparse(i.test)
                   for n in ast.walk(i)}  # fmt: skip
    rooms = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("zoo.")}
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "zoo":
            parts = node.module.split(".")
            rooms |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return rooms


@pytest.mark.parametrize("path", [p for p in FILES if p.name != "__init__.py"], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(path: Path):
    assert imported(path) <= MAY_IMPORT[room(path)] | LEAVES


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_stays_below_four_hundred_lines(path: Path):
    assert len(path.read_text().splitlines()) <= 400


def test_importing_zoo_imports_nothing_heavy():
    code = "import sys, zoo; print(sorted({'torch', 'lightning', 'transformers', 'datasets'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said.strip() == "[]"


def test_text_imports_no_other_modality():
    code = (
        "import sys, zoo; zoo.CausalLM; zoo.TextData; zoo.Trainer; import zoo.cli;"
        "print(sorted({'diffusers', 'timm', 'sklearn', 'torchaudio', 'zoo.data.images'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said.strip() == "[]"


def test_every_public_name_can_be_had():
    import zoo

    assert all(getattr(zoo, name).__name__ == name for name in zoo.__all__)


def test_the_readme_lists_every_file():
    tree = (ROOT / "README.md").read_text().partition("## The tree")[2]
    names = {p.relative_to(ROOT / "zoo").as_posix() for p in FILES} - {"callbacks/__init__.py"}
    assert [
        name
        for name in names
        if not name.startswith(("callbacks/", "tokens/", "settings/", "commands/")) and name not in tree
    ] == []
