"""Between the backward pass and the optimizer's step."""

from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor

from zoo.errors import ConfigError

_LORA = ".lora_"
"""In the names of all that peft's adapters are made of."""


class Gradients(Callback):
    """Clip the gradient of the whole batch by its norm, log the norm, and refuse to train without any gradient.

    Every adapter (LoRA) has to have a gradient that is not zero, in the first step and after the first validation:
    libraries have lost theirs silently at both.

    Args:
        clip_norm: largest L2 norm over all parameters; None for no clipping.
    """

    def __init__(self, clip_norm: float | None):
        self.clip_norm = clip_norm
        self.norm: torch.Tensor | None = None
        """Of the gradient of this step, before clipping."""
        self._checked: set[int] = set()
        """Optimizers whose first step has been looked at."""
        self._looks = 2
        """At the gradients of adapters that are still to come."""
        self._is_due = True

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if id(optimizer) not in self._checked:
            self._check(pl_module, optimizer)
            self._checked.add(id(optimizer))
        limit = float("inf") if self.clip_norm is None else self.clip_norm
        self.norm = torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], limit)
        pl_module.log("train/grad_norm", self.norm, batch_size=1)
        if self._looks and self._is_due:
            self._check_adapters(pl_module)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._is_due |= not trainer.sanity_checking

    def _check_adapters(self, module: Any) -> None:
        adapters = [(n, p) for n, p in module.named_parameters() if p.requires_grad and _LORA in n]
        if adapters and not (self.norm is not None and self.norm.isfinite()):  # fp16 finds its scale in the first steps
            return
        self._looks, self._is_due = (self._looks - 1 if adapters else 0), False
        if without := _without_gradient(adapters):
            raise ConfigError(
                f"{len(without)} adapters learn nothing, as their gradient is zero or missing: {without[0]} … Their "
                f"layers are not part of what the loss computes. Name others in model.lora.targets."
            )

    @staticmethod
    def _check(module: Any, optimizer: Any) -> None:
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        trainable = {name: p for name, p in module.named_parameters() if id(p) in own}
        without = [name for name, p in trainable.items() if p.grad is None]
        if len(without) == len(trainable):
            raise ConfigError(
                f"no gradient at all after the first step: none of {len(trainable)} trainable tensors has one. "
                f"Is the loss computed from the network?"
            )
        if without:
            print(f"no gradient reaches {len(without)} of {len(trainable)} tensors: {', '.join(without[:3])} …")


def _without_gradient(adapters: list[tuple[str, Tensor]]) -> list[str]:
    """Adapters that learn nothing: their gradient is missing, zero, or not finite.

    Args:
        adapters: by name. The first matrix of one has a gradient once the second is not zero any more.
    """
    before = {name: p for name, p in adapters if ".lora_A." in name}
    begun = {name.replace(".lora_B.", ".lora_A.") for name, p in adapters if ".lora_B." in name and bool(p.any())}
    checked_ones = [(name, p) for name, p in adapters if name not in before or name in begun]
    return [name for name, p in checked_ones if p.grad is None or not _learns(p.grad)]


def _learns(gradient: Tensor) -> bool:
    return bool(gradient.isfinite().all() and gradient.any())
