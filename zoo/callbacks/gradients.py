"""Between the backward pass and the optimizer's step."""

from typing import Any

import torch
from lightning.pytorch import Callback

from zoo.errors import ConfigError


class Gradients(Callback):
    """Clip the gradient of the whole batch by its norm, log the norm, and refuse to train without any gradient.

    Args:
        clip_norm: largest L2 norm over all parameters; None for no clipping.
    """

    def __init__(self, clip_norm: float | None):
        self.clip_norm = clip_norm
        self.norm: torch.Tensor | None = None
        """Of the gradient of this step, before clipping."""
        self._checked: set[int] = set()
        """Optimizers whose first step has been looked at."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if id(optimizer) not in self._checked:
            self._check(pl_module, optimizer)
            self._checked.add(id(optimizer))
        limit = float("inf") if self.clip_norm is None else self.clip_norm
        self.norm = torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], limit)
        pl_module.log("train/grad_norm", self.norm, batch_size=1)

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
