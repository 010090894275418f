"""zoo.fit and zoo.test: what the command line does, in a script or a notebook."""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.seed import isolate_rng

from zoo.command.invocation import Request
from zoo.command.lightning_cli import ZooCLI, surroundings
from zoo.command.settings import schema
from zoo.command.settings.problems import as_error
from zoo.command.settings.written_down import written_down
from zoo.datamodule import DataModule
from zoo.errors import ConfigError, Stopped, UserError
from zoo.runs import run
from zoo.runs.signals import Signals
from zoo.task import Task

Config = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, repr=False)
class Run:
    """A run after a command. It is taken wherever a run is: by `zoo.load`, by `zoo.test`, and as a path.

    Args:
        folder: its directory.
        metrics: of the best checkpoint after a training, else of the test.
        task: the task with these weights, ready to predict.
    """

    folder: Path
    metrics: dict[str, float]
    task: Task

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return ", ".join([f"run {self.folder}", *(f"{name} {value:.6g}" for name, value in self.metrics.items())])


def fit(
    task: Task | Config | None = None,
    data: DataModule | None = None,
    *,
    name: str | None = None,
    resume: bool | str | os.PathLike[str] = False,
    allow_change: Sequence[str] = (),
    **settings: Any,
) -> Run:
    """Train, as `zoo fit` does: with a run directory, checkpoints, recovery, resume and export.

    A run is made from what its config.yaml says, so it starts from the arguments of `task` and not from weights that it
    may hold. At the end, `task` holds the best weights.

    Args:
        task: what is trained; or a config: a file, a name of a shipped one, or a list of them.
        data: samples; None for those of the config, or of the run that is resumed.
        name: of the run; None for that of the config.
        resume: True for the latest run, or which.
        allow_change: keys that may differ from the settings of the run that is resumed.
        settings: as on the command line: `**{"data.batch_size": 4}`; those of the trainer and the sections without a
            prefix too: `max_epochs=3`, `checkpoint={"keep": 5}`.

    Raises:
        UserError: a mistake, in the lines that the command line prints.
        KeyboardInterrupt: after the step in progress is saved.
    """
    if isinstance(task, Task) and task.origin and not resume:
        raise ConfigError(
            f"this task holds the weights of {task.origin}, and a run starts from the arguments of its task. Go on "
            f"with zoo.fit(resume={str(task.origin)!r}), or make a new task."
        )
    if type(task).__module__ == "__main__":
        kind = type(task).__qualname__
        print(f"zoo: {kind} is defined in this script or notebook, so that only this can go on with the run.")
    flags = [] if name is None else ["--name", name]
    flags += [word for key in allow_change for word in ("--allow-change", key)]
    if resume:
        flags += ["--resume"] if resume is True else ["--resume", os.fspath(resume)]
    done = _command("fit", flags, task, data, settings)
    folder = done.directory.folder
    assert folder is not None
    if not hasattr(done.model, "network"):  # a run that was finished
        run.fill(done.model, folder)
    trained = _handed_over(done.model, task)
    return Run(folder, run.read_metrics(folder).get("fit", {}).get("metrics", {}), trained)


def test(
    run_or_task: "Task | Run | str | os.PathLike[str]" = "runs/latest",  # noqa: PT028 (no test of pytest)
    data: DataModule | None = None,  # noqa: PT028
    **settings: Any,
) -> Run:
    """Measure weights on test data, as `zoo test` does; the metrics are kept in the run directory too.

    Args:
        run_or_task: a run, whose best weights are measured; or a task, with the weights that it holds (those that its
            arguments name, if it holds none).
        data: samples; None for those of the run.
        settings: as in `fit`.

    Raises:
        UserError: a mistake, in the lines that the command line prints.
    """
    task, asked = (run_or_task, run_or_task.origin) if isinstance(run_or_task, Task) else (None, run_or_task)
    flags = ["--run", os.fspath(asked)] if asked else []
    settings = settings if asked else {"max_epochs": 1, **settings}  # without a config, nothing else says an end
    done = _command("test", flags, task, data, settings, task if hasattr(task, "network") else None)
    return Run(done.folder, dict(done.model.last_metrics), _handed_over(done.model, None))


def _command(
    command: str,
    flags: list[str],
    task: Any,
    data: Any,
    settings: dict[str, Any],
    in_memory: Task | None = None,
) -> ZooCLI:
    signals = Signals(ends_process=False)
    try:
        with surroundings(signals), isolate_rng():
            configs = [] if task is None or isinstance(task, Task) else _configs(task)
            request = Request.parse([command, *flags, *(word for path in configs for word in ("--config", path))])
            request.values = _values(task if isinstance(task, Task) else None, data, settings)
            if "model" in request.values and not {"--run", "--resume"} & {*flags}:
                request.asked = None  # and not the latest run
            request.find_run()
            found, problems = request.settings(schema.load(may_import=True))
            if problems:
                raise as_error(problems)
            if in_memory is None:
                request.open()
            return ZooCLI(request, found, signals, in_memory)
    except Stopped as stop:
        print(f"zoo: {stop}", file=sys.stderr)
        if signals.received not in (None, signal.SIGINT):
            signal.raise_signal(signals.received)  # as if zoo had not taken it
        raise KeyboardInterrupt(str(stop)) from None
    except UserError as error:
        if os.environ.get("ZOO_DEBUG"):
            raise
        raise error.with_traceback(None) from None


def _configs(named: Any) -> list[str]:
    try:
        return [os.fspath(one) for one in (named if isinstance(named, (list, tuple)) else [named])]
    except TypeError:
        made = f"the class {named.__name__}; make one: {named.__name__}(…)" if isinstance(named, type) else type(named)
        raise ConfigError(f"the task is {made}; expected a task of zoo, or the name of a config.") from None


def _values(task: Task | None, data: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as a config has them: the objects first, then what is said beside them."""
    if not isinstance(data, (DataModule, type(None))):
        raise ConfigError(f"data is a {type(data).__name__}; expected a data module, as zoo.TextData(train='my.txt').")
    objects = {"model": task, "data": data}
    given = {**{key: value for key, value in objects.items() if value is not None}, **settings}
    return {key: written_down(key, value) for key, value in given.items()}


def _handed_over(made: Task, task: Any) -> Task:
    """The trained task in the object that the user holds, if there is one."""
    made.trainer = None
    made.eval()
    if not isinstance(task, Task) or task is made:
        return made
    vars(task).clear()
    vars(task).update(vars(made))
    return task
