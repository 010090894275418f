"""zoo runs: the runs of this folder, with task, state, steps, metrics and size; compared; removed."""

import math
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from zoo.command import columns, compare_runs, invocation, remove_runs
from zoo.command.settings.config_file import UnreadableError, read
from zoo.command.settings.problems import nearest
from zoo.errors import ConfigError, typed
from zoo.files.paths import follow
from zoo.runs import lock, run

USAGE = """\
zoo runs [NAME] [--sort METRIC] lists the runs of this folder, or those of that name, the newest last: task, state, last
and best step, metrics, size. With --sort it shows that metric, and the largest value comes last.
zoo runs compare RUN RUN … shows the settings that differ, and the metrics side by side.
zoo runs remove RUN … [--yes] deletes runs. It asks first, and refuses a run in use."""
_COLUMNS = ("run", "task", "state", "last step", "best step", "metrics", "size", "last change")
_COUNTS = ("tokens", "images", "documents")
"""Metrics that say how much was measured, not how well."""


def main(argv: list[str]) -> int:
    if {"--help", "-h"} & {*argv}:
        print(USAGE)
        return 0
    if argv[:1] == ["compare"]:
        return compare_runs.main(argv[1:])
    if argv[:1] == ["remove"]:
        return remove_runs.main(argv[1:], lambda folder: "  ".join(_row(folder, _metrics(folder))))
    metric, rest = invocation.take(argv, "--sort")
    if len(rest) > 1 or (rest and rest[0].startswith("-")):
        raise ConfigError(f"zoo runs takes a name and --sort METRIC, and found {' '.join(rest)!r}.")
    folders = [path.parent for path in run.RUNS.glob(f"{rest[0] if rest else '*'}/*/config.yaml")]
    if not folders:
        print(f"no run yet in {run.RUNS}. Start one: {typed('zoo fit --config quickstart')}")
        return 0
    measured = {folder: _metrics(folder) for folder in sorted(folders, key=_changed)}
    order = [*measured] if metric is None else _by(metric, measured)
    columns.show([_COLUMNS, *(_row(folder, measured[folder], metric) for folder in order)])
    return 0


def _by(metric: str, measured: dict[Path, dict[str, Any]]) -> list[Path]:
    """Runs without the metric first, and the one with its largest value last."""
    values = {folder: found[metric] for folder, all_ in measured.items() if (found := _measured(all_, metric)[1])}
    if not values:
        known = {name for all_ in measured.values() for result in all_.values() for name in result["metrics"]}
        raise ConfigError(
            f"no run has {metric}{nearest(metric, known)} There are {', '.join(sorted(known)) or 'no metrics'}."
        )
    return sorted(measured, key=lambda folder: values.get(folder, -math.inf))


def _row(folder: Path, metrics: dict[str, Any], metric: str | None = None) -> tuple[str, ...]:
    changed = datetime.fromtimestamp(_changed(folder)).strftime("%Y-%m-%d %H:%M")
    steps = (_step(run.checkpoints(folder)[:1]), _step([follow(folder / "checkpoints" / "best")]))
    shown = _shown(metrics, metric)
    return (str(folder), _task(folder), _state(folder, metrics), *steps, shown, _size(folder), changed)


def _metrics(folder: Path) -> dict[str, Any]:
    return {} if run.is_of_another_format(folder) else run.read_metrics(folder)


def _step(checkpoints: list[Path]) -> str:
    steps = [step for path in checkpoints if (step := run.step_of(path)) >= 0]
    return f"{steps[0]:,}" if steps else "–"


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
        return "finished"
    return "stopped" if run.checkpoints(folder) else "stopped before a checkpoint"


def _shown(metrics: dict[str, Any], metric: str | None) -> str:
    """The one that is asked for, else two: of the test, else of the best checkpoint's validation."""
    command, measured = _measured(metrics, metric)
    shown = {n: v for n, v in measured.items() if n == metric or n.rpartition("/")[2] not in _COUNTS}
    wanted = [metric] if metric else [*shown][:2]
    text = ", ".join(f"{name} {shown[name]:.4g}" for name in wanted if name in shown)
    return f"{command}: {text}" if text else "–"


def _measured(metrics: dict[str, Any], metric: str | None) -> tuple[str, dict[str, float]]:
    """The command whose metrics count, and those of them that are numbers."""
    for command in ("test", "fit", "validation"):
        found = metrics.get(command, {}).get("metrics", {})
        numbers = {name: value for name, value in found.items() if isinstance(value, (int, float))}
        if numbers if metric is None else metric in numbers:
            return command, numbers
    return "", {}


def _size(folder: Path) -> str:
    size = float(sum(status.st_size for path in folder.rglob("*") if (status := _status(path)) and path.is_file()))
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
