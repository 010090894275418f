"""zoo runs: the runs of this folder, newest last, with task, state, best metrics and size."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from zoo.command.settings.config_file import UnreadableError, read
from zoo.errors import ConfigError, typed
from zoo.runs import lock, run

USAGE = "zoo runs [NAME] lists the runs of this folder, or those of that name, with task, state, best metrics and size."
_COLUMNS = ("run", "task", "state", "best", "size", "last change")
_COUNTS = ("tokens", "images", "documents")
"""Metrics that say how much was measured, not how well."""


def main(argv: list[str]) -> int:
    if {"--help", "-h"} & {*argv}:
        print(USAGE)
        return 0
    if len(argv) > 1 or (argv and argv[0].startswith("-")):
        raise ConfigError(f"{USAGE} Found {' '.join(argv)!r}.")
    pattern = f"{argv[0]}/*/config.yaml" if argv else "*/*/config.yaml"
    folders = [path.parent for path in run.RUNS.glob(pattern)]
    if not folders:
        print(f"no run yet in {run.RUNS}. Start one: {typed('zoo fit --config quickstart')}")
        return 0
    rows = [_COLUMNS, *(_row(folder) for folder in sorted(folders, key=_changed))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(folder: Path) -> tuple[str, ...]:
    metrics = {} if run.is_of_another_format(folder) else run.read_metrics(folder)
    changed = datetime.fromtimestamp(_changed(folder)).strftime("%Y-%m-%d %H:%M")
    return (str(folder), _task(folder), _state(folder, metrics), _best(metrics), _size(folder), changed)


def _changed(folder: Path) -> float:
    files = [folder / "config.yaml", *folder.glob("*.csv"), *folder.glob("*.json")]
    return max((status.st_mtime for path in files if (status := _status(path))), default=0.0)


def _status(path: Path) -> os.stat_result | None:
    """None for a file that has gone meanwhile: a run is going on, perhaps."""
    try:
        return path.stat()
    except OSError:
        return None


def _task(folder: Path) -> str:
    try:
        model = read(folder / "config.yaml")[0]["model"].plain()
    except (UnreadableError, KeyError, TypeError, AttributeError):
        return "?"
    return str(model.get("class_path", "?")) if isinstance(model, dict) else "?"


def _state(folder: Path, metrics: dict[str, Any]) -> str:
    if run.is_of_another_format(folder):
        return "of another version"
    if owner := lock.holder(folder):
        return f"running (PID {owner['pid']})"
    if "fit" in metrics:
        return f"finished, step {metrics['fit'].get('eval_settings', {}).get('step', '?')}"
    saved = run.checkpoints(folder)
    return f"stopped at step {run.step_of(saved[0])}" if saved else "stopped before a checkpoint"


def _best(metrics: dict[str, Any]) -> str:
    """The first two metrics of the test, else of the best checkpoint's validation."""
    command = next((name for name in ("test", "fit", "validation") if metrics.get(name, {}).get("metrics")), "")
    measured = metrics.get(command, {}).get("metrics", {})
    shown = {n: v for n, v in measured.items() if n.rpartition("/")[2] not in _COUNTS and isinstance(v, (int, float))}
    text = ", ".join(f"{name} {value:.4g}" for name, value in list(shown.items())[:2])
    return f"{command}: {text}" if text else "–"


def _size(folder: Path) -> str:
    size = float(sum(status.st_size for path in folder.rglob("*") if (status := _status(path)) and path.is_file()))
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
