"""What is seen while a run goes on: a bar on a terminal, a line now and then in a log, a line per validation."""

import sys
import time
from typing import Any

import torch
from lightning.pytorch.callbacks import ProgressBar
from rich.progress import BarColumn, Progress, TextColumn

from zoo.runs.metrics_csv import MetricsCSV

_GB = 1e9
_LOGGED_EVERY = 10
"""Seconds."""


class ProgressLine(ProgressBar):
    """Epoch, step, loss, throughput, VRAM in use and free, time left.

    Args:
        seconds: between two looks at the metrics (each waits for the device once).
        log_seconds: between two lines where the output is not a terminal.
    """

    def __init__(self, seconds: float = 0.5, log_seconds: float = 30):
        super().__init__()
        self.enabled = True
        self.interval = seconds if sys.stdout.isatty() else log_seconds
        self._bar: Progress | None = None
        self._begun = self._looked = (0.0, 0, 0.0)
        self._validation_began = self._logged = 0.0

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        trainer.targets_done = 0
        self._begun = self._looked = (time.monotonic(), trainer.global_step, 0.0)
        if self.enabled and trainer.is_global_zero and sys.stdout.isatty():
            self._bar = Progress(TextColumn("{task.description}"), BarColumn(bar_width=20), transient=True)
            self._bar.add_task("…", total=trainer.total_steps, completed=trainer.global_step)
            self._bar.start()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if time.monotonic() - self._looked[0] < self.interval or not self.enabled or not trainer.is_global_zero:
            return
        line = self._line(trainer, pl_module)
        if self._bar:
            self._bar.update(self._bar.task_ids[0], description=line, completed=trainer.global_step)
        else:
            print(line, flush=True)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._validation_began = time.monotonic()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not (self.enabled and trainer.is_global_zero):
            return
        took = time.monotonic() - self._validation_began
        self._looked = (self._looked[0] + took, *self._looked[1:])  # the throughput is that of training
        metrics = ", ".join(f"val/{name} {value:,.6g}" for name, value in pl_module.last_metrics.items())
        print(f"step {trainer.global_step:,}/{trainer.total_steps:,} · {metrics}", flush=True)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._stop()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _line(self, trainer: Any, module: Any) -> str:
        now = (time.monotonic(), trainer.global_step, float(trainer.targets_done))
        rate = (now[2] - self._looked[2]) / (now[0] - self._looked[0])
        per_step = (now[0] - self._begun[0]) / max(1, now[1] - self._begun[1])
        self._looked = now
        if now[0] - self._logged >= _LOGGED_EVERY:
            self._logged = now[0]
            _log(trainer, module, rate)
        loss = float(trainer.callback_metrics.get("train/loss", float("nan")))
        left = per_step * (trainer.total_steps - now[1])
        epochs = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
        parts = [
            f"epoch {trainer.current_epoch + 1}{epochs}",
            f"step {now[1]:,}/{trainer.total_steps:,}",
            f"loss {loss:.4g}",
            f"{rate:,.0f} {module.unit}/s",
            *_memory(module.device),
            f"{int(left // 3600)}:{int(left % 3600 // 60):02}:{int(left % 60):02} left",
        ]
        return " · ".join(parts)


def _log(trainer: Any, module: Any, rate: float) -> None:
    """Speed and memory go to TensorBoard and its like. metrics.csv is a function of the config, and has no clock."""
    found = {f"speed/{module.unit}_per_second": rate}
    if module.device.type == "cuda":
        found["memory/reserved_gb"] = torch.cuda.memory_reserved(module.device) / _GB
    for logger in trainer.loggers:
        if not isinstance(logger, MetricsCSV):
            logger.log_metrics(found, trainer.global_step)


def _memory(device: torch.device) -> list[str]:
    if device.type != "cuda":
        return []
    free, _ = torch.cuda.mem_get_info(device)
    return [f"VRAM {torch.cuda.memory_reserved(device) / _GB:.1f} GB, {free / _GB:.1f} free"]
