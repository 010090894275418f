"""zoo runs compare: what differs between runs in their settings, and what they came to, side by side."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo.command import columns
from zoo.command.settings.config_file import UnreadableError, read
from zoo.command.settings.problems import shown
from zoo.errors import ConfigError, DataError
from zoo.loop import guards
from zoo.runs import run

_ABSENT = "–"


def main(argv: list[str]) -> int:
    if len(argv) < 2 or any(word.startswith("-") for word in argv):
        raise ConfigError("zoo runs compare takes two runs or more, as: zoo runs compare gpt2/1 gpt2/2")
    folders = [run.find(word, "zoo runs compare") for word in argv]
    names = [str(folder) for folder in folders]
    settings = [_settings(folder) for folder in folders]
    differing = [key for key in _union(settings) if len({repr(one.get(key, _ABSENT)) for one in settings}) > 1]
    if differing:
        rows = [[key, *(_text(one.get(key, _ABSENT)) for one in settings)] for key in differing]
        columns.show([["settings that differ", *names], *rows])
    else:
        print("all settings are the same.")
    measured = [_measured(folder) for folder in folders]
    print()
    columns.show(
        [["metrics", *names], *([key, *(one.get(key, _ABSENT) for one in measured)] for key in _union(measured))]
    )
    return 0


def _union(many: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every key, in the order in which they come up."""
    return [*dict.fromkeys(key for one in many for key in one)]


def _settings(folder: Path) -> dict[str, Any]:
    """Every setting of a run by its name on the command line."""
    try:
        content, _ = read(folder / "config.yaml")
    except UnreadableError as error:
        raise DataError(error.problem.line) from error
    return dict(guards.leaves({key: node.plain() for key, node in content.items()}))


def _measured(folder: Path) -> dict[str, str]:
    """Metrics, and under each command how they were measured, where that decides whether they can be compared."""
    found = {}
    for command, result in run.read_metrics(folder).items():
        for name, value in result["metrics"].items():
            found[f"{command}: {name}"] = f"{value:.6g}" if isinstance(value, (int, float)) else _text(value)
        found |= {f"{command}, measured: {name}": _text(value) for name, value in result["eval_settings"].items()}
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= 40 else shown(value, 40)
