"""A task's own steps on a device that is not there: what training and evaluation take of its memory."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from zoo.loop import probe, ranks
from zoo.loop.prepare import prepared
from zoo.vram.allocator import Peak
from zoo.vram.sandbox import Sandbox, on_host, without_weights

_COMPUTED_IN = {"32-true": None, "16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
_OF_THE_HOST = ("example_batch", "evaluation_example", "prediction_example", "prepare", "trim")
"""Methods of a task that see batches before they reach the device."""


class Planned:
    """A task whose network, optimizer and batches have shapes and no content. To be used inside `sandbox.entered()`.

    Args:
        task: of a config, with what `setup_from_data` would have found out, and without a network.
        precision: as trainer.precision, but for auto.
        clip_norm: as trainer.gradient_clip_val.
        averages: the EMA of the run, if it has one.
    """

    def __init__(self, task: Any, sandbox: Sandbox, precision: str, clip_norm: float | None, averages: Any = None):
        self.task, self.box, self.averages = task, sandbox, averages
        task.trainer = SimpleNamespace(
            precision=precision,
            precision_plugin=SimpleNamespace(forward_context=lambda: self._autocast(precision)),
            global_step=0, current_epoch=0, world_size=1, global_rank=0, is_global_zero=False, seed=0, testing=False,
            sanity_checking=False, datamodule=None, callbacks=[], vram=None,
            state=SimpleNamespace(fn="fit", stage=SimpleNamespace(value="train")),
        )  # fmt: skip
        with without_weights():
            task.configure_model()
        sandbox.take_network(task)
        task.train()
        self._stand_in(clip_norm)

    @staticmethod
    def _autocast(precision: str) -> AbstractContextManager[Any]:
        kind = _COMPUTED_IN[precision]
        return torch.autocast("cpu", kind or torch.bfloat16, enabled=kind is not None, cache_enabled=False)

    def _stand_in(self, clip_norm: float | None) -> None:
        task, limit = self.task, float("inf") if clip_norm is None else clip_norm

        def clip(optimizer: Any, *_: Any) -> None:
            self.box.storages.begin("optimizer")
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, limit)

        @cache
        def optimizers() -> Any:
            found = task.configure_optimizers()
            several = [*found] if isinstance(found, (list, tuple)) else [found]
            for optimizer in several:
                optimizer.register_step_pre_hook(clip)
            return several if len(several) > 1 else several[0]

        def to_device(piece: dict[str, Any]) -> dict[str, Any]:
            self.box.storages.begin("forward")
            piece = task.trim(piece)
            return {name: self.box.take(x) if isinstance(x, Tensor) else x for name, x in piece.items()}

        def backward(loss: Tensor) -> None:
            self.box.storages.begin("backward")
            loss.backward()

        own = {name: on_host(getattr(task, name)) for name in _OF_THE_HOST}
        vars(task).update(
            own,
            log=lambda *_, **__: None,
            log_dict=lambda *_, **__: None,
            manual_backward=backward,
            optimizers=optimizers,
            to_device=to_device,
        )

    @property
    def _optimizers(self) -> Sequence[Any]:
        found = self.task.optimizers()
        return found if isinstance(found, list) else [found]

    @contextmanager
    def _running(self, phase: str) -> Iterator[None]:
        with ranks.alone(), self.box.running(phase), self.task.trainer.precision_plugin.forward_context():
            yield

    def begin(self) -> None:
        """Let the optimizer and the averages have their tensors, as after a first step."""
        with self._running("begin"):
            if self.averages is not None:
                self.averages.on_fit_start(self.task.trainer, self.task)
                for tensor in self.averages.averaged.values():
                    self.box.storages.note(tensor, "EMA")
            self._fill_gradients()
            for optimizer in self._optimizers:
                optimizer.step()
                self.box.note_state(optimizer)

    def _fill_gradients(self) -> None:
        for p in self.task.parameters():
            p.grad = torch.zeros_like(p) if p.requires_grad else None
            if p.grad is not None:
                self.box.storages.note(p.grad, "gradients")

    def training(self, size: int, batch: int) -> Peak:
        """A step of `batch` samples, `size` of them at a time: the second piece meets the gradients of the first."""
        task = self.task

        def step() -> None:
            task.micro_batch_size = size
            example = prepared(task, task.example_batch(min(2 * size, batch)), "train")
            task.training_step(example, 0)
            if self.averages is not None:
                self.box.storages.begin("EMA")
                self.averages.on_train_batch_end(task.trainer, task)

        task.train()
        return self._peak(step)

    def evaluation(self, size: int) -> Peak:
        """An evaluation between two steps. (In inference mode torch would hide what its operations are made of.)"""
        return self._peak(lambda: probe.evaluate_once(self.task, size, torch.no_grad))

    def _peak(self, work: Callable[[], None]) -> Peak:
        self.box.storages.forget()
        with self._running("step"):
            work()
        return self.box.peak()
