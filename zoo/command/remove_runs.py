"""zoo runs remove: deletes runs, after it has asked, and never one in use."""

import sys
from collections.abc import Callable
from pathlib import Path

from zoo.errors import ConfigError
from zoo.runs import run


def main(argv: list[str], describe: Callable[[Path], str]) -> int:
    names = [word for word in argv if word != "--yes"]
    if not names or any(word.startswith("-") for word in names):
        raise ConfigError("zoo runs remove takes runs, and --yes, as: zoo runs remove gpt2/1 gpt2/2")
    folders = [*dict.fromkeys(_single(name) for name in names)]
    for folder in folders:
        print(describe(folder))
    if "--yes" not in argv and not _agreed(len(folders)):
        print("nothing was removed.")
        return 0
    for folder in folders:
        run.remove(folder)
        print(f"removed: {folder}")
    return 0


def _single(name: str) -> Path:
    """The run of a name, which has to be the only one of that name, or has to have its number."""
    folder = run.named(name, "zoo runs remove")
    others = [path.parent for path in folder.parent.glob("*/config.yaml")]
    if Path(name) in (folder.parent, Path(folder.parent.name)) and len(others) > 1:
        there = ", ".join(sorted(str(other) for other in others))
        raise ConfigError(f"zoo runs remove {name}: there are several ({there}). Name them with their numbers.")
    return folder


def _agreed(count: int) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("zoo runs remove asks first, and nobody is there to answer. Add --yes.")
    return input(f"remove {'it' if count == 1 else f'these {count} runs'} for good? [y/N] ").strip().lower() in (
        "y",
        "yes",
    )
