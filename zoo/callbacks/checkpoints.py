"""When a checkpoint is written, which are kept, and which one is best."""

import math
import time
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.callbacks import Checkpoint

from zoo.errors import ConfigError
from zoo.paths import follow, point


class Checkpoints(Checkpoint):
    """Saves after every validation, and at the given intervals between; keeps the newest and the best.

    A checkpoint is written between two steps, when all that belongs to the earlier one (its validation too) is done.

    Args:
        monitor: the figure that decides which is best; one that a validation logs.
        mode: whether the best is the smallest or the largest.
        every_n_steps: save also after so many steps; null for not.
        every_n_minutes: save also when so many minutes have passed; null for not.
        keep: the newest so many; the best comes on top.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        every_n_steps: int | None = None,
        every_n_minutes: float | None = 5,
        keep: int = 2,
    ):
        if keep < 1 or (every_n_steps is not None and every_n_steps < 1):
            raise ConfigError("checkpoint.keep and checkpoint.every_n_steps are whole numbers from 1.")
        self.monitor, self.mode, self.keep = monitor, mode, keep
        self.every_n_steps, self.every_n_minutes = every_n_steps, every_n_minutes
        self.folder: Path | None = None
        """checkpoints/ of the run directory; None where there is none, and then nothing is saved."""
        self.best: float | None = None
        self.best_step: int | None = None
        self.best_figures: dict[str, float] = {}
        self._saved_step, self._saved_at = -1, time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_step": self.best_step, "best_figures": self.best_figures}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_step = state_dict["best"], state_dict["best_step"]
        self.best_figures = state_dict["best_figures"]

    def path(self, step: int) -> Path:
        assert self.folder is not None
        return self.folder / f"step={step}.ckpt"

    # When -------------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        """The step before is complete, with its validation if it had one: the moment to save it."""
        step = trainer.global_step
        by_steps = self.every_n_steps and step - max(self._saved_step, 0) >= self.every_n_steps
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
            self.best_figures = {f"val/{name}": figure for name, figure in pl_module.last_figures.items()}
        self.save(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if self.folder and trainer.global_step != self._saved_step:
            self.save(trainer)

    def _minutes_are_over(self, trainer: Any) -> bool:
        due = self.every_n_minutes is not None and time.monotonic() - self._saved_at > 60 * self.every_n_minutes
        return bool(trainer.strategy.broadcast(due)) if trainer.world_size > 1 else due

    # How --------------------------------------------------------------------------------------------------------

    def save(self, trainer: Any) -> None:
        step = trainer.global_step
        assert self.folder is not None
        trainer.save_checkpoint(self.path(step))
        self._saved_step, self._saved_at = step, time.monotonic()
        if trainer.is_global_zero:
            point(self.folder / "last", self.path(step))
            if self.best_step == step:
                point(self.folder / "best", self.path(step))
            self._tidy()

    def _tidy(self) -> None:
        """Remove what is neither among the newest nor the best; only now that the new one is safe."""
        assert self.folder is not None
        files = sorted(self.folder.glob("step=*.ckpt"), key=lambda p: int(p.stem.removeprefix("step=")))
        for path in files[: -self.keep]:
            if path != follow(self.folder / "best"):
                path.unlink(missing_ok=True)
