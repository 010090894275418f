"""Steps whose loss or gradient is not finite leave no trace in the weights, and a run of them ends the training."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from zoo import streams
from zoo.callbacks.gradients import Gradients
from zoo.errors import DataError
from zoo.loop import microbatch, optim

IN_A_ROW = 20
_NAMED = 8
_LOOKED_INTO = 3
"""Bad steps of a run whose samples are tried one by one."""


class BadSteps(Callback):
    """Leaves out the optimizer's step where loss or gradient is nan or infinite; weights, moments and buffers stay.

    The flag is made on the device. Fused Adam and AdamW take it there, and the host reads the flags of 20 steps at a
    time; for any other optimizer the host reads it at every step, and takes the gradients away. A step that is left out
    counts as a step. With a gradient scaler, leaving out is the scaler's work, and its way of finding its scale.

    Args:
        gradients: has the norm of the gradient.

    Raises:
        DataError: 20 bad steps in a row, or an fp16 scale below 1; says what to do.
    """

    def __init__(self, gradients: Gradients):
        self.gradients = gradients
        self.skipped = 0
        self.in_a_row = 0
        self._flags: list[tuple[int, Tensor]] = []
        self._buffers: list[tuple[Tensor, Tensor]] = []
        self._looked_into = 0
        self._trainer: Any = None

    def state_dict(self) -> dict[str, Any]:
        self._count()
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped, self.in_a_row = state_dict["skipped"], state_dict["in_a_row"]

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._trainer = trainer

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self._buffers = [(buffer, buffer.clone()) for buffer in _saved_buffers(pl_module)]

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        assert self.gradients.norm is not None
        bad = ~(self.gradients.norm.isfinite() & pl_module.step_loss.to(self.gradients.norm.device).isfinite())
        step = trainer.global_step
        if self._flags and self._flags[-1][0] == step:  # of another optimizer, or an earlier step of this one
            self._flags[-1] = step, bad | self._flags[-1][1]
        else:
            self._flags.append((step, bad))
        pl_module.log("train/skipped_steps", self._so_far(), batch_size=1)
        if (scaler := getattr(trainer.precision_plugin, "scaler", None)) is not None:
            tell(scaler, optimizer, bad)
        elif optim.on_device(optimizer):
            optimizer.grad_scale, optimizer.found_inf = None, bad.float()
            optimizer._step_supports_amp_scaling = True
        elif bad.item():
            for group in optimizer.param_groups:
                for p in group["params"]:
                    p.grad = None

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if not self._flags or self._flags[-1][0] != trainer.global_step - 1:
            return  # no optimizer has seen this batch
        bad = self._flags[-1][1]
        for buffer, before in self._buffers:
            buffer.copy_(torch.where(bad.to(buffer.device), before, buffer))
        on_device = [optim.on_device(optimizer) for optimizer in trainer.optimizers]
        for optimizer in trainer.optimizers:
            optimizer._step_supports_amp_scaling = False
        if not all(on_device) or len(self._flags) >= IN_A_ROW:
            self._count()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._count()

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Nothing that is not finite is written: a finite step can be so large that the next weights are infinite."""
        if name := _not_finite(pl_module, checkpoint):
            raise DataError(
                f"{name} is NaN/Inf after step {trainer.global_step:,}, so no checkpoint of it is written. The earlier "
                f"ones are valid. The step was too large. Lower model.optimizer.lr or trainer.gradient_clip_val."
            )

    # Counting ---------------------------------------------------------------------------------------------------

    def _so_far(self) -> Tensor:
        return self.skipped + torch.stack([bad for _, bad in self._flags]).sum().float()

    def _count(self) -> None:
        """Read the flags that are not read yet: one look at the device for all of them."""
        flags, self._flags = self._flags, []
        if not flags or not any(bad_ones := torch.stack([bad for _, bad in flags]).tolist()):
            self.in_a_row = 0 if flags else self.in_a_row
            return
        for (step, _), bad in zip(flags, bad_ones, strict=True):
            self.skipped += bad
            self.in_a_row = self.in_a_row + 1 if bad else 0
            if bad:
                self._report(step)
            if self.in_a_row >= IN_A_ROW:
                raise DataError(
                    f"{IN_A_ROW} steps in a row were skipped, up to step {step + 1:,}: loss or gradient is NaN/Inf. "
                    f"{self._advice(step)}"
                )

    def _report(self, step: int) -> None:
        scaler = getattr(self._trainer.precision_plugin, "scaler", None)
        if scaler is not None:
            if (scale := scaler.get_scale()) < 1:
                raise DataError(f"the fp16 loss scale fell below 1 at step {step + 1:,}. {self._advice(step)}")
            found = f"its gradient overflows fp16, and the loss scale is now {scale:g}"
        elif self._looked_into < _LOOKED_INTO:
            self._looked_into += 1
            found = _sentence(_bad_samples(self._trainer, step), len(_keys(self._trainer, step)))
        else:
            found = f"samples {_some([index for _, index in _keys(self._trainer, step)])}"
        line = f"step {step + 1:,} skipped: loss or gradient is NaN/Inf: {found} ({self.skipped} so far)"
        print(f"zoo: {line}", file=sys.stderr, flush=True)

    def _advice(self, step: int) -> str:
        trainer, module = self._trainer, self._trainer.lightning_module
        if bad := [name for name, p in module.named_parameters() if not p.isfinite().all()]:
            return f"A weight is NaN/Inf ({bad[0]}). Lower model.optimizer.lr, or set trainer.gradient_clip_val."
        half = trainer.precision_plugin.precision == "16-mixed"
        keys, samples = _keys(trainer, step), _bad_samples(trainer, step)
        where = f" The first module with NaN/Inf in its output is {_first_module(trainer, step)}." if samples else ""
        if half:
            return f"The range of fp16 is too small for it. Set trainer.precision bf16-mixed, or a smaller lr.{where}"
        if samples and len(samples) < len(keys):
            return f"Fix or remove training sample {_some(samples)}.{where}"
        if samples:
            return f"Every sample of the batch has it. Look at loss() and at the scale of the data.{where}"
        return "The loss is finite, but its gradient is not. Lower model.optimizer.lr, or look for a root or log of 0."


def tell(scaler: Any, optimizer: Any, bad: Tensor) -> None:
    """Have a gradient scaler leave out the optimizer's step, and lower its scale, if `bad` says so.

    It knows of infinite gradients only, and would overwrite what the optimizer is told by others.
    """
    found = scaler._per_optimizer_states[id(optimizer)]["found_inf_per_device"]
    for device, infinite in found.items():
        found[device] = torch.maximum(infinite, bad.to(device, infinite.dtype))


# Looking into a step: what it saw is a function of its number, so it can be had again -----------------------------


def _keys(trainer: Any, step: int) -> list[tuple[int, int]]:
    order = trainer.train_dataloader.batch_sampler
    return order.part(order.batch(step)) if hasattr(order, "part") else []


def _piece(trainer: Any, keys: list[tuple[int, int]]) -> Any:
    loader, module = trainer.train_dataloader, trainer.lightning_module
    batch = module.prepared(loader.collate_fn([loader.dataset[key] for key in keys]), "train", keys[0][0])
    return module.to_device(batch)


@contextmanager
def _without_trace(trainer: Any) -> Iterator[None]:
    module = trainer.lightning_module
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    with torch.no_grad(), streams.seeded(trainer.seed, "bad step"), trainer.precision_plugin.forward_context():
        yield
        for buffer, content in before:
            buffer.copy_(content)


def _loss_is_finite(trainer: Any, keys: list[tuple[int, int]]) -> bool:
    pairs = microbatch.named(trainer.lightning_module.loss(_piece(trainer, keys)))
    return all(bool(total.isfinite()) for total, _ in pairs.values())


def _bad_samples(trainer: Any, step: int) -> list[int]:
    """Indices of the training samples whose own loss is not finite."""
    with _without_trace(trainer):
        return [key[1] for key in _keys(trainer, step) if not _loss_is_finite(trainer, [key])]


def _first_module(trainer: Any, step: int) -> str:
    found: list[str] = []

    def look(name: str, kind: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            tensors = output if isinstance(output, (tuple, list)) else [output]
            if any(isinstance(t, Tensor) and not t.isfinite().all() for t in tensors):
                found.append(f"{name} ({kind})")

        return hook

    modules = trainer.lightning_module.named_modules()
    hooks = [m.register_forward_hook(look(name, type(m).__name__)) for name, m in modules if name]
    try:
        with _without_trace(trainer):
            for key in _keys(trainer, step):
                if not found:
                    _loss_is_finite(trainer, [key])
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else "none, so loss() itself"


def _sentence(samples: list[int], count: int) -> str:
    if not samples:
        return f"the loss of each of its {count} samples is finite, their gradient is not"
    return f"training sample {_some(samples)} of its {count}"


def _some(numbers: list[int]) -> str:
    return ", ".join(str(n) for n in numbers[:_NAMED]) + (" …" if len(numbers) > _NAMED else "")


def _saved_buffers(module: nn.Module) -> list[Tensor]:
    saved = module.state_dict(keep_vars=True)
    return [tensor for tensor in saved.values() if not isinstance(tensor, nn.Parameter)]


def _not_finite(module: nn.Module, checkpoint: dict[str, Any]) -> str | None:
    """Name of the first weight or moment that is nan or infinite, or buffer that is nan (a mask may be -inf)."""
    weights = {name for name, p in module.named_parameters(remove_duplicate=False) if p.requires_grad}
    flags = {}
    for name, tensor in checkpoint["state_dict"].items():
        flags[name] = tensor.isfinite().all() if name in weights else ~tensor.isnan().any()
    for optimizer in checkpoint.get("optimizer_states", []):
        for number, values in optimizer["state"].items():
            for name, tensor in values.items():
                if isinstance(tensor, Tensor):
                    flags[f"{name} of parameter {number}"] = tensor.isfinite().all()
    good = torch.stack(_on_one_device(flags)).tolist() if flags else []
    return next((name for name, fine in zip(flags, good, strict=True) if not fine), None)


def _on_one_device(flags: dict[str, Tensor]) -> list[Tensor]:
    device = next((flag.device for flag in flags.values() if flag.device.type != "cpu"), torch.device("cpu"))
    return [flag.to(device) for flag in flags.values()]
