"""The run directory: where everything that a run writes lies, how it is found again, and a task loaded from it.

runs/<name>/<number>/
    config.yaml        complete, with every default
    environment.json   format, versions, git state, GPU
    checkpoints/       step=N.ckpt; `last` and `best` name one of them
    metrics.csv        one row per logged step and per validation
    metrics.json       final metrics of fit, test …, each with how it was measured
    tensorboard/       the same for TensorBoard, and generated examples
    model/             best weights, in the format of the library they came from
"""

import json
import math
import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from zoo.errors import ConfigError, DataError, MissingInputError, typed
from zoo.files import trust
from zoo.files.paths import exists, follow, point, remove_folder, sweep, write_text
from zoo.runs.lock import Lock

if TYPE_CHECKING:
    from zoo.task import Task

RUNS = Path("runs")
FORMAT = 2
"""Of what a run directory holds. Runs of another one are refused, as neither their config nor their weights load."""
_PACKAGES = ("lightning-zoo", "torch", "lightning", "transformers", "datasets", "tokenizers", "torchmetrics", "numpy")


def create(name: str) -> Path:
    """A new numbered directory of that name. Two that start at once get two."""
    check_name(name)
    (RUNS / name).mkdir(parents=True, exist_ok=True)
    number = max((int(p.name) for p in (RUNS / name).iterdir() if p.name.isdecimal()), default=0)
    while True:
        number += 1
        try:
            (folder := RUNS / name / str(number)).mkdir()
        except FileExistsError:
            continue
        return folder


def check_name(name: str) -> None:
    if not name or Path(name).name != name or name in ("latest", ".", ".."):
        raise ConfigError(f"--name {name!r}: a plain name, without folders.")


def make_latest(folder: Path) -> None:
    """From here on `runs/latest` is this run. It has a checkpoint: a run that dies before its first one is none."""
    point(RUNS / "latest", folder)


def remove(folder: Path) -> None:
    """Delete a run. If it was the latest, the newest of the others is.

    Raises:
        BusyError: it is in use.
    """
    lock = Lock(folder)
    try:
        remove_folder(folder, RUNS / f"{folder.parent.name}.{folder.name}")
    finally:
        lock.release()
    with suppress(OSError):
        folder.parent.rmdir()  # if it was the last of its name
    if follow(RUNS / "latest") == folder and _latest() is None:
        (RUNS / "latest").unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Remove what commands that were killed had begun to write in a run's directory."""
    for place in (RUNS, folder, *(path for path in folder.glob("*") if path.is_dir())):
        sweep(place)


def find(run: str | os.PathLike[str] | None = None, flag: str = "--run") -> Path:
    """The run of a path (runs/gpt2/3, runs/latest), a name (gpt2: its newest) or a name and number (gpt2/3).

    Args:
        run: None for the latest.
        flag: that named it.

    Raises:
        MissingInputError: there is no such run; names those that there are.
        DataError: a zoo with other names in its files wrote it.
    """
    folder = named(run, flag)
    if is_of_another_format(folder):
        raise DataError(
            f"{folder} was written by a version of zoo whose names differ (CHANGELOG.md), so it does not load. "
            f"Train it again with zoo fit, or use it with the version that environment.json in it names."
        )
    return folder


def named(run: str | os.PathLike[str] | None, flag: str) -> Path:
    """As `find`, of any version."""
    is_latest = run is None or Path(run) in (RUNS / "latest", Path("latest"))
    if is_latest and (usable := _latest()):
        return usable
    asked = [RUNS / "latest"] if run is None else [Path(run), RUNS / run]
    for path in filter(exists, map(follow, asked)):
        if (path / "config.yaml").is_file():
            return path
        numbered = [p for p in path.glob("*/config.yaml") if p.parent.name.isdecimal()] if path.is_dir() else []
        if numbered:
            return max(numbered, key=lambda p: int(p.parent.name)).parent
    there = sorted(p.parent.relative_to(RUNS).as_posix() for p in RUNS.glob("*/*/config.yaml"))
    no_latest = f"in {RUNS} no run has a checkpoint" if there else f"no run yet in {RUNS}"
    what = no_latest if is_latest else f"{flag} {run}: no such run"
    raise MissingInputError(
        f"{what}. " + (f"There are {', '.join(there[-8:])}." if there else "Start one with zoo fit.")
    )


def _latest() -> Path | None:
    """The run of `runs/latest`; where that has no checkpoint (any more), it is put to the newest. None for none."""
    named = follow(RUNS / "latest")
    if (named / "config.yaml").is_file() and checkpoints(named):
        return named
    saved = [path for config in RUNS.glob("*/*/config.yaml") for path in checkpoints(config.parent)[:1]]
    if not saved:
        return None
    folder = max(saved, key=lambda path: path.stat().st_mtime).parent.parent
    print(f"zoo: {RUNS / 'latest'} leads to no run with a checkpoint; {folder} has the newest one.", file=sys.stderr)
    with suppress(OSError):  # a folder that is only read
        make_latest(folder)
    return folder


def is_of_another_format(folder: Path) -> bool:
    """Whether another version of zoo wrote it, with other names in its files. Where nothing says so, it is of this."""
    try:
        found = json.loads((folder / "environment.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("format") != FORMAT


def checkpoints(folder: Path) -> list[Path]:
    """The run's checkpoints, newest first."""
    return saved_in(folder / "checkpoints")


def saved_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first."""
    return sorted((p for p in folder.glob("step=*.ckpt") if step_of(p) >= 0), key=step_of, reverse=True)


def step_of(path: Path) -> int:
    number = path.stem.removeprefix("step=")
    return int(number) if number.isdecimal() else -1


def checkpoint_of(folder: Path, which: str = "best") -> Path:
    """The run's `best` or `last` whole checkpoint; the last one where no validation has named a best.

    A damaged one is named on the screen, and the newest whole one taken instead.

    Raises:
        MissingInputError: the run has saved none.
        DataError: none is whole.
    """
    from zoo.loop import checkpoint

    candidates, damaged = checkpoints(folder), list[str]()
    if which == "best" and (pointer := folder / "checkpoints" / "best").is_file():
        if (best := follow(pointer)) in candidates:
            candidates = [best, *(path for path in candidates if path != best)]
        else:
            damaged = ["best names no checkpoint"]
    for path in candidates:
        wrong = checkpoint.damage(path)
        if not wrong:
            for line in damaged:
                print(f"zoo: {line}; going back to {path.name}.", file=sys.stderr)
            return path
        damaged.append(f"{path.name} is damaged ({wrong})")
    if candidates:
        raise DataError(f"{folder}: no checkpoint is valid: {'; '.join(damaged)}. Train again with zoo fit.")
    raise MissingInputError(f"{folder} has no checkpoint yet. Go on with {typed(f'zoo fit --resume {folder}')}.")


def load(run: str | os.PathLike[str] = "runs/latest", which: str = "best") -> "Task":
    """The task of a run with its best weights, ready to predict: `zoo.load("runs/latest").predict(["Once"])`.

    The run may come from a stranger: its files run no code (docs/explanation/reliability.md says what that rests on).

    Args:
        which: "best" or "last".

    Raises:
        MissingInputError: no such run, or no checkpoint in it.
        ConfigError: its config.yaml names what no config may name.
    """
    import torch

    folder = find(run)
    task = make_task(settings(folder)["model"])
    fill(task, folder, which)
    return task.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def fill(task: "Task", folder: Path, which: str = "best") -> None:
    """Give a task the weights of a run."""
    from zoo.loop import checkpoint

    content = checkpoint.read(checkpoint_of(folder, which))
    task.restore(content)
    task.configure_model()
    task.load_trained(content)
    task.origin = folder


def settings(folder: Path) -> dict[str, Any]:
    """What config.yaml has.

    Raises:
        DataError: it is damaged.
    """
    path = folder / "config.yaml"
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
        if {type(found[section]) for section in ("model", "data", "trainer")} == {dict}:
            return dict(found)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError):
        pass
    raise DataError(f"{path} is damaged: it lacks the settings of model, data or trainer. Take that of a run like it.")


def make_task(settings: dict[str, Any]) -> "Task":
    """The task of a config's section `model`, without a network.

    Raises:
        ConfigError: a class that is not there, or an argument that it does not take.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    from zoo.runs import parser_errors
    from zoo.task import Task

    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # for the user's own tasks
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Task, "model", fail_untyped=False)
    trust.check({"model": settings})
    try:
        parsed = parser.parse_object({"model": settings})
    except ArgumentError as error:
        raise ConfigError(parser_errors.readable(str(error))) from error
    trust.check(parsed)
    task: Task = parser.instantiate_classes(parsed)["model"]
    task.made_with = settings.get("init_args", {})  # in plain values
    return task


# Metrics and surroundings ---------------------------------------------------------------------------------------


def read_metrics(folder: Path) -> dict[str, Any]:
    """What metrics.json has, by command. Empty if there is none; a damaged one is named, and counts as none."""
    path = folder / "metrics.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
        if all(isinstance(result[part], dict) for result in found.values() for part in ("metrics", "eval_settings")):
            return dict(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    print(f"zoo: {path} is damaged; metrics are measured again by zoo test and zoo validate.", file=sys.stderr)
    return {}


def write_metrics(folder: Path, command: str, metrics: dict[str, Any]) -> None:
    """Keep the final metrics of a command beside those of the others; null for NaN and infinity, which JSON lacks."""
    known = {**read_metrics(folder), command: metrics}
    write_text(folder / "metrics.json", json.dumps(_finite(known), indent=2, allow_nan=False) + "\n")


def _finite(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _finite(value) for key, value in node.items()}
    return None if isinstance(node, float) and not math.isfinite(node) else node


def reopen(folder: Path) -> None:
    """Take back that the run is finished: from here it is trained longer, and may be stopped on the way."""
    metrics = read_metrics(folder)
    if metrics.pop("fit", None) is not None:
        write_text(folder / "metrics.json", json.dumps(_finite(metrics), indent=2, allow_nan=False) + "\n")


def environment() -> dict[str, Any]:
    """What the run was made with, for people. Only its format is read back."""
    import torch

    return {
        "format": FORMAT,
        "packages": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git": _git(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "command": sys.argv,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Commit of the working directory, and whether anything in it is changed."""
    try:
        commit, changes = (
            subprocess.run(["git", *args], capture_output=True, text=True, check=True, timeout=10).stdout.strip()
            for args in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": bool(changes)}
