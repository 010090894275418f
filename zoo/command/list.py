"""zoo list: tasks, data, callbacks and configs, one line each."""

from collections.abc import Iterator
from pathlib import Path

from zoo.command.settings.schema import load
from zoo.errors import ConfigError

USAGE = "zoo list: tasks, data, callbacks and configs, with a line each."
_WIDTH, _LONGEST = 41, 120
_KINDS = {
    "tasks": "zoo.Task",
    "data": "zoo.DataModule",
    "callbacks": "lightning.pytorch.callbacks.Callback",
}


def main(argv: list[str]) -> int:
    if {"--help", "-h"} & {*argv}:
        print(USAGE)
        return 0
    if argv:
        raise ConfigError(f"zoo list takes nothing; found {argv[0]!r}.")
    print("\n".join(_lines()))
    return 0


def _lines() -> Iterator[str]:
    schema = load()
    for title, base in _KINDS.items():
        yield title
        for name in schema.subclasses(base):
            if name.startswith("zoo."):
                yield _row(name, schema.definitions[name]["description"])
    for title, pattern in (("configs", "*.yaml"), ("overlays, for a second --config", "overlays/*.yaml")):
        yield title
        for path in sorted(_configs().glob(pattern)):
            yield _row(_shown(path), summary(path))
    yield "more: zoo fit --model zoo.CausalLM --help"


def _configs() -> Path:
    """Of the working directory, else of the checkout that zoo is in."""
    here = Path("configs")
    return here if here.is_dir() else Path(__file__).parent.parent.parent / "configs"


def _shown(path: Path) -> str:
    return path.as_posix()


def summary(config: Path) -> str:
    """What a config says of itself: the first sentence of its comment."""
    lines = config.read_text("utf-8").splitlines()
    said = [
        line.removeprefix("#").strip() for line in lines if line.startswith("#") and "yaml-language-server" not in line
    ]
    text = " ".join(said)
    for end in (". ", ": --", ": no", ": uv"):
        text = text.partition(end)[0]
    return text.rstrip(".")


def _row(name: str, text: str) -> str:
    row = f"  {name:<{_WIDTH}} {text}"
    return row if len(row) <= _LONGEST else f"{row[: _LONGEST - 1].rsplit(' ', 1)[0]} …"
