"""Opens the run directory once the data has proved usable, so that a mistake in the data leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from zoo.callbacks.checkpoints import Checkpoints
from zoo.callbacks.loggers import tolerate
from zoo.errors import before_the_first_step
from zoo.files.paths import write_text
from zoo.loop import guards
from zoo.runs import run
from zoo.runs.lock import Lock
from zoo.runs.metrics_csv import MetricsCSV


class RunDirectory(Callback):
    """Creates the directory of a fit (or takes the one that is resumed) and attaches its loggers.

    Args:
        name: of the run.
        config: makes the text of config.yaml.
        folder: of the run that is resumed; None for a new one.
        done_steps: of the run that is resumed.
        validation_due: whether the validation of its last step is still to come.
        lock: on that folder; None for a new run, which is locked when it is made.
    """

    def __init__(
        self,
        name: str,
        config: Callable[[], str],
        folder: Path | None = None,
        done_steps: int = 0,
        validation_due: bool = False,
        lock: Lock | None = None,
    ):
        self.name, self.config, self.resumed = name, config, folder
        self.done_steps, self.validation_due, self.lock = done_steps, validation_due, lock
        self.folder: Path | None = folder

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if stage != "fit":
            return
        if self.folder is None and trainer.is_global_zero:
            with before_the_first_step():
                self.folder = run.create(self.name)
        self.folder = Path(trainer.strategy.broadcast(str(self.folder)))  # the first process makes it for all
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, Checkpoints):
                callback.folder, callback.after_first_save = self.folder / "checkpoints", self._make_latest
        if trainer.is_global_zero:
            with before_the_first_step():
                self._open(trainer)
            trainer.datamodule.bad.path = self.folder / "bad_samples.jsonl"
            trainer.datamodule.bad.write()

    def _open(self, trainer: Any) -> None:
        assert self.folder is not None
        self.lock = self.lock or Lock(self.folder)
        run.tidy(self.folder)
        run.reopen(self.folder)  # before the new limits are in config.yaml: with both, the run would count as finished
        write_text(self.folder / "config.yaml", self.config())
        if self.resumed is None:
            write_text(self.folder / "environment.json", json.dumps(run.environment(), indent=2) + "\n")
        purge = self.done_steps + 1 if self.resumed else None
        tensorboard = TensorBoardLogger(self.folder, name="", version="tensorboard", purge_step=purge)
        rows = MetricsCSV(self.folder / "metrics.csv", self.done_steps, self.validation_due)
        trainer.loggers = [rows, *(tolerate(trainer, logger) for logger in (tensorboard, *trainer.loggers))]
        print(f"run: {self.folder}" + (f", from step {self.done_steps:,}" if self.resumed else ""))

    def _make_latest(self) -> None:
        assert self.folder is not None
        run.make_latest(self.folder)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """A resumed run is held against the settings that its checkpoint was made with."""
        checkpoint["settings"] = guards.flat(yaml.safe_load(self.config()))
