"""zoo list: tasks, data, callbacks and configs, one line each."""

from collections.abc import Iterator
from pathlib import Path

from zoo.command.settings import shipped
from zoo.command.settings.schema import load
from zoo.errors import ConfigError

USAGE = "zoo list lists tasks, data modules, callbacks and configs, with a line each."
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
    names = shipped.names()
    for title, is_overlay in (("configs, for --config", False), ("overlays, for a second --config", True)):
        yield title
        yield from (
            _row(name, summary(shipped.folder() / f"{name}.yaml")) for name in names if ("/" in name) == is_overlay
        )
    own = [] if Path("configs").resolve() == shipped.folder().resolve() else sorted(Path("configs").rglob("*.yaml"))
    if own:
        yield "configs of this folder"
        yield from (_row(path.as_posix(), summary(path)) for path in own)
    yield "a copy to edit: zoo init NAME"
    yield "more: zoo fit --model zoo.CausalLM --help"


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
