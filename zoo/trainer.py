"""Trainer: Lightning's, with the settings that zoo's one loop takes over or has to refuse."""

import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch import Trainer as LightningTrainer
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from zoo.callbacks.bad_steps import BadSteps
from zoo.callbacks.ema import EMA
from zoo.callbacks.gradients import Gradients
from zoo.constraints import PositiveFloat, PositiveInt, PositiveShare, checked
from zoo.datamodule import DataModule
from zoo.errors import ConfigError
from zoo.loop import optim, probe, recovery
from zoo.loop.checkpoint import DurableIO
from zoo.loop.precision import UnscaledFirst
from zoo.rules import AtLeastOne
from zoo.vram import gpus

_STRATEGIES = (SingleDeviceStrategy, DDPStrategy)


@checked
class Trainer(LightningTrainer):
    """Lightning's Trainer for tasks of zoo.

    Args:
        max_epochs: passes over the training data. null means no limit, if max_steps gives one.
        max_steps: optimizer steps, one for each batch. The run ends at whichever limit comes first, and both keep
            their meaning on resume.
        gradient_clip_val: largest norm of the gradient of a whole batch. null means no clipping.
        accumulate_grad_batches: refused, because model.micro_batch_size does it exactly.
        limit_train_batches: train on so many batches of each pass, or on this share of them. null means all.
        precision: auto means 16-mixed on a GPU and fp32 on a CPU.
        vram: memory that torch may use on each GPU, such as 12GB. null takes what is free. On a CPU it only guides
            micro_batch_size: auto.

    Raises:
        ConfigError: a setting that would change the training silently, or hardware that cannot be used.
    """

    rules = (AtLeastOne(("max_epochs", "max_steps"), "the run would never end"),)
    plan: Callable[[int], tuple[int, int] | None] | None = None
    """What `zoo plan` says of a budget in bytes: samples at a time that fit, and what they take; None for nothing."""
    seed: int = 0
    """What every random stream of the run is derived from; the command line sets it to seed_everything."""
    allowed_changes: Collection[str] = ()
    """Settings that may differ from those of the checkpoint that a run is resumed from."""

    def __init__(
        self,
        *args: Any,
        max_epochs: PositiveInt | None = None,
        max_steps: Annotated[int, Ge(-1)] = -1,
        gradient_clip_val: PositiveFloat | None = 1.0,
        accumulate_grad_batches: PositiveInt = 1,
        limit_train_batches: PositiveInt | PositiveShare | None = None,
        vram: str | None = None,
        accelerator: str = "auto",
        precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "32-true",
        plugins: Any = None,
        callbacks: list[Callback] | Callback | None = None,
        **kwargs: Any,
    ):
        if accelerator in ("auto", "gpu", "cuda"):
            check_nvidia()
        strategy = kwargs.get("strategy", "auto")
        if not (strategy == "auto" or str(strategy).startswith("ddp") or isinstance(strategy, _STRATEGIES)):
            raise ConfigError(f"trainer.strategy is {strategy}; zoo trains on one device (auto) or with ddp for now.")
        self.asked_accumulation = accumulate_grad_batches
        self.step_limit = math.inf if max_steps == -1 else max_steps
        self.vram = None if vram is None else gpus.in_bytes(vram)
        self.targets_done: Any = 0
        """Targets (tokens, images …) trained on by this process; a tensor while training, read it seldom."""
        if precision == "auto":
            precision = "16-mixed" if _has_gpu(accelerator) else "32-true"
        if precision == "16-mixed" and not _has_gpu(accelerator):
            print("precision: 16-mixed needs a CUDA GPU, so on this CPU the run computes in fp32.")
            precision = "32-true"
        plugins = [*_as_list(plugins), DurableIO()]
        if precision == "16-mixed":
            plugins.append(UnscaledFirst("16-mixed", "cuda"))
        gradients = Gradients(gradient_clip_val)
        # The averages go last: what shows examples after a validation shows those of the weights that were measured.
        asked = sorted(_as_list(callbacks), key=lambda callback: isinstance(callback, EMA))
        own_precision = any(isinstance(plugin, MixedPrecision) for plugin in plugins)
        super().__init__(
            *args,
            max_epochs=-1 if max_epochs is None else max_epochs,
            accelerator=accelerator,
            precision=None if own_precision else precision,
            plugins=plugins,
            limit_train_batches=limit_train_batches,
            callbacks=[_Steps(), _BrokenSamples(), gradients, BadSteps(gradients), *asked],
            use_distributed_sampler=False,  # the data module's order already gives each process its part
            **kwargs,
        )

    @property
    def global_step(self) -> int:
        """Batches trained on so far, whatever number of optimizers has seen each of them."""
        batches: Any = self.fit_loop.epoch_loop.batch_progress.total
        return int(batches.processed)

    @property
    def total_steps(self) -> int:
        """Steps of the whole run, known from its start."""
        return self.steps_in_all(int(self.num_training_batches))

    def steps_in_all(self, per_epoch: int) -> int:
        by_epochs = math.inf if self.max_epochs in (None, -1) else self.max_epochs * per_epoch
        return int(min(by_epochs, self.step_limit))

    def facts(self) -> dict[str, Any]:
        """What decides the training beside the network, as far as it can be known without a config."""
        data: Any = getattr(self, "datamodule", None)
        contents = getattr(data, "contents", {})
        return {
            "seed_everything": self.seed,
            "trainer.precision": str(self.precision),
            "data.batch_size": getattr(data, "batch_size", None),
            "data.train": contents.get("train"),
            "data.validation": contents.get("validation"),
        }

    def count_steps_per_epoch(self) -> int:
        """As num_training_batches, which Lightning knows only later."""
        data: Any = self.datamodule  # type: ignore[attr-defined]
        steps, limit = len(data.train_dataloader().batch_sampler), self.limit_train_batches
        return min(steps, limit) if isinstance(limit, int) else int(steps * limit)

    def fit(self, model: LightningModule, *args: Any, **kwargs: Any) -> None:
        if self.asked_accumulation != 1:
            batch_size = getattr(kwargs.get("datamodule"), "batch_size", 1)
            raise ConfigError(
                f"trainer.accumulate_grad_batches is {self.asked_accumulation}; in zoo the loader's batch is the batch "
                f"of a step. The same training, with the exact mean:\n"
                f"  --data.batch_size {batch_size * self.asked_accumulation}\n"
                f"  --model.micro_batch_size {batch_size}"
            )
        super().fit(model, *args, **kwargs)


class _Steps(Callback):
    """The step is the only clock: loggers read it, and the run ends at the one computed total."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        probe.limit_process(trainer.strategy.root_device, trainer.vram)

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        if probe.is_possible(pl_module):
            probe.choose_for_prediction(pl_module, trainer.vram)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero:
            for line in optim.slips(trainer.optimizers, pl_module.warmup_steps, trainer.total_steps):
                print(f"zoo: {line}", file=sys.stderr, flush=True)
        trainer.should_stop |= trainer.global_step >= trainer.step_limit  # resumed with nothing left but the export

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        pl_module.targets_in_step = 0
        factor = pl_module.lr_factor(trainer.global_step, trainer.total_steps)
        for optimizer in trainer.optimizers:
            optim.set_lr(optimizer.param_groups, factor)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        pl_module.log("train/lr", max(g["lr"] for o in trainer.optimizers for g in o.param_groups), batch_size=1)
        pl_module.log("train/micro_batch_size", float(recovery.largest_piece(pl_module, batch)), batch_size=1)
        pl_module.log("step", float(trainer.global_step), batch_size=1)  # loggers take it as their step
        trainer.targets_done += pl_module.targets_in_step
        recovery.ease(pl_module, batch)
        trainer.should_stop |= trainer.global_step >= trainer.step_limit


class _BrokenSamples(Callback):
    """Names the samples that workers could not read, as soon as their batch is done."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if isinstance(trainer.datamodule, DataModule):
            trainer.datamodule.name_broken()

    def on_validation_batch_end(self, trainer: Any, *_: Any) -> None:
        self.on_train_batch_end(trainer)

    def on_test_batch_end(self, trainer: Any, *_: Any) -> None:
        self.on_train_batch_end(trainer)

    def on_predict_batch_end(self, trainer: Any, *_: Any) -> None:
        self.on_train_batch_end(trainer)


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else [*value] if isinstance(value, (list, tuple)) else [value]


def _has_gpu(accelerator: str) -> bool:
    return accelerator not in ("cpu", "mps") and torch.cuda.is_available()


def check_nvidia() -> None:
    """Refuse to train on the CPU beside an NVIDIA GPU that torch cannot use.

    Raises:
        ConfigError: the driver shows a GPU, and torch cannot use it: what was found, what is needed, how to fix it.
    """
    if torch.cuda.is_available() or not (gpu := _visible_gpu()):
        return
    name, _, driver = gpu.partition(", ")
    insist = "or train on the CPU: --trainer.accelerator cpu"
    if torch.version.cuda is None:
        raise ConfigError(
            f"{name} is there, but this torch ({torch.__version__}) is a CPU build. "
            f"Install the CUDA build with `uv sync --reinstall-package torch`, {insist}."
        )
    raise ConfigError(
        f"{name} is there with driver {driver}, but torch {torch.__version__} cannot use it; "
        f"it needs a driver for CUDA {torch.version.cuda}. Update the NVIDIA driver, {insist}."
    )


def _visible_gpu() -> str:
    """Name and driver version of the first GPU that nvidia-smi lists; empty without one, or with all hidden."""
    import os

    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not (smi := shutil.which("nvidia-smi")):
        return ""
    query = [smi, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):  # a driver that hangs
        return ""
    return answer.stdout.strip().partition("\n")[0] if answer.returncode == 0 else ""
