"""When a checkpoint is written, which are kept, and which one is best."""

import math
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.callbacks import Checkpoint

from zoo.constraints import NonNegativeFloat, PositiveInt, checked
from zoo.errors import ConfigError, NoRoomError, OutputError, typed
from zoo.files.paths import follow, point
from zoo.loop.checkpoint import without_frozen
from zoo.loop.optim import state_bytes
from zoo.runs import run
from zoo.runs.metrics_csv import MetricsCSV

_SHARE = 0.02
"""Of the time, at most this much goes into saving by the clock."""
_FAILURES = 3
_MB = 1e6


@checked
class Checkpoints(Checkpoint):
    """Saves after every validation and at the given intervals. The newest checkpoints and the best one are kept.

    A checkpoint is written between two steps, when all that belongs to the earlier one (its validation too) is done.

    Args:
        monitor: the validation metric that decides which checkpoint is best.
        mode: whether the best value is the smallest or the largest.
        every_n_steps: also saves after so many steps. null means not.
        every_n_minutes: also saves when so many minutes have passed. null means not. Slow saves are made less often,
            so that they take 2 % of the time.
        keep: how many of the newest checkpoints are kept, beside the best one.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        every_n_steps: PositiveInt | None = None,
        every_n_minutes: NonNegativeFloat | None = 5,
        keep: PositiveInt = 2,
    ):
        self.monitor, self.mode, self.keep = monitor, mode, keep
        self.every_n_steps, self.every_n_minutes = every_n_steps, every_n_minutes
        self.folder: Path | None = None
        """checkpoints/ of the run directory; None where there is none, and then nothing is saved."""
        self.after_first_save: Callable[[], None] = lambda: None
        self.best: float | None = None
        self.best_step: int | None = None
        self.best_metrics: dict[str, float] = {}
        self.validation_due = False
        """Whether the checkpoint was written in the middle of a validation, which then comes first on resume."""
        self._saved_step, self._saved_at, self._save_seconds = -1, time.monotonic(), 0.0
        self._tried_step, self._begun_at, self._failures = -1, -1, 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_step": self.best_step,
            "best_metrics": self.best_metrics,
            "validation_due": self.validation_due,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_step = state_dict["best"], state_dict["best_step"]
        self.best_metrics, self.validation_due = state_dict["best_metrics"], state_dict["validation_due"]

    def path(self, step: int) -> Path:
        assert self.folder is not None
        return self.folder / f"step={step}.ckpt"

    def has(self, step: int) -> bool:
        return step == self._saved_step

    # When -------------------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        if self.folder and trainer.is_global_zero:
            self._check_room(pl_module)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._saved_step = self._tried_step = self._begun_at = trainer.global_step
        self._saved_at = time.monotonic()
        if self.folder and trainer.is_global_zero and trainer.global_step:
            self._mend_pointers(trainer.global_step)
        if self.validation_due:
            _validate(trainer)

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        """The step before is complete, with its validation if it had one: the moment to save it."""
        step = trainer.global_step
        by_steps = self.every_n_steps and step - max(self._tried_step, 0) >= self.every_n_steps
        if self.folder and step and step != self._saved_step and (by_steps or self._minutes_are_over(trainer)):
            self.save(trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not self.folder:
            return
        if self.monitor not in trainer.callback_metrics:
            there = ", ".join(sorted(name for name in trainer.callback_metrics if name.startswith("val/")))
            raise ConfigError(f"checkpoint.monitor is {self.monitor}, but the validation logs {there}.")
        value = float(trainer.callback_metrics[self.monitor])
        if not math.isnan(value) and (self.best is None or (value < self.best) == (self.mode == "min")):
            self.best, self.best_step = value, trainer.global_step
            self.best_metrics = {f"val/{name}": value for name, value in pl_module.last_metrics.items()}
        self.save(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if self.folder and trainer.global_step != self._saved_step:
            self.save(trainer, last=True)

    def _minutes_are_over(self, trainer: Any) -> bool:
        due = self.every_n_minutes is not None and time.monotonic() - self._saved_at > self.seconds_between()
        return bool(trainer.strategy.broadcast(due)) if trainer.world_size > 1 else due

    def seconds_between(self) -> float:
        """From one save by the clock to the next: as set, or longer where saving was measured to be slow."""
        return max(60 * (self.every_n_minutes or 0), self._save_seconds / _SHARE)

    # How --------------------------------------------------------------------------------------------------------

    def save(self, trainer: Any, validation_due: bool = False, last: bool = False) -> None:
        """Write the checkpoint of this step. A full disk is survived twice, unless this is the last chance.

        Raises:
            OutputError: the third save in a row that failed, or the last of the run.
        """
        step, begun = trainer.global_step, time.monotonic()
        self.validation_due, self._tried_step = validation_due, step
        try:
            self._write(trainer, step)
            self._failures, self._saved_step = 0, step
        except OSError as error:
            self._failures += 1
            what = f"step {step:,} could not be saved in {self.folder} ({error.strerror or error})"
            if last or self._failures >= _FAILURES or trainer.world_size > 1:
                raise OutputError(
                    f"{what}. What was saved before is valid. Make room, then {typed('zoo fit --resume')}."
                ) from error
            print(f"zoo: {what}; trying again at the next save.", file=sys.stderr)
        finally:
            self.validation_due = False
            self._saved_at = time.monotonic()
            self._save_seconds = self._saved_at - begun

    def _write(self, trainer: Any, step: int) -> None:
        assert self.folder is not None
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCSV):
                logger.make_durable()  # a checkpoint never survives a power cut that its rows do not
        trainer.save_checkpoint(self.path(step))
        if trainer.is_global_zero:
            point(self.folder / "last", self.path(step))
            if self.best_step == step:
                point(self.folder / "best", self.path(step))
            if self._saved_step == self._begun_at:
                self.after_first_save()
            self._tidy()

    def _tidy(self) -> None:
        """Remove what is neither among the newest nor the best; only now that the new one is safe."""
        assert self.folder is not None
        for path in run.saved_in(self.folder)[self.keep :]:
            if path != follow(self.folder / "best"):
                path.unlink(missing_ok=True)

    def _mend_pointers(self, step: int) -> None:
        """A kill may have come between a checkpoint and its pointers, and a damaged file was passed over."""
        assert self.folder is not None
        for path in run.saved_in(self.folder):
            if run.step_of(path) > step:
                path.replace(path.with_name(f"{path.name}.damaged"))
        point(self.folder / "last", self.path(step))
        if self.best_step is not None and self.path(self.best_step).is_file():
            point(self.folder / "best", self.path(self.best_step))
        else:
            self.best = self.best_step = None
            (self.folder / "best").unlink(missing_ok=True)

    def _check_room(self, module: Any) -> None:
        """Refuse a run whose checkpoints would not fit.

        Raises:
            NoRoomError: fewer than three of them do.
        """
        assert self.folder is not None
        weights = sum(t.nbytes for t in without_frozen(module, module.state_dict()).values())
        trained = sum(p.nbytes for p in module.parameters() if p.requires_grad)
        size = weights + trained * state_bytes(module.optimizer or module.usual_optimizer())
        there = sum(path.stat().st_size for path in run.saved_in(self.folder))
        free = shutil.disk_usage(self.folder.parent).free
        if free < size or free + there < 3 * size:
            raise NoRoomError(
                f"{self.folder.parent} has {free / _MB:,.1f} MB free; a checkpoint takes about {size / _MB:,.1f} MB, "
                f"and three have to fit. Make room, or start in a folder on another disk."
            )


def _validate(trainer: Any) -> None:
    """The validation that the checkpoint's step still owes, as Lightning's loop runs it."""
    trainer.validating = True
    first_iteration = trainer._logger_connector._first_loop_iter
    trainer.fit_loop.epoch_loop.val_loop.run()
    trainer.training = True
    trainer._logger_connector._first_loop_iter = first_iteration
