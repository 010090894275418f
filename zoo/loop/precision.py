"""Mixed precision as zoo's loop needs it: gradients are unscaled, then clipped, then stepped with."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from zoo.errors import ConfigError


class UnscaledFirst(MixedPrecision):
    """Lightning's mixed precision, for processes without samples too."""

    def optimizer_step(  # type: ignore[override]
        self, optimizer: Any, model: Any, closure: Callable[[], Any], **kwargs: Any
    ) -> Any:
        if self.scaler is not None:  # a process whose share of the batch is empty has scaled nothing yet
            self.scaler.scale(torch.zeros((), device=self.device))
        return super().optimizer_step(optimizer, model=model, closure=closure, **kwargs)


def check_trainable_is_32_bit(module: nn.Module) -> None:
    """Mixed precision computes in fp16 or bf16 and updates in fp32: an update is often less than a 16-bit rounding.

    Raises:
        ConfigError: a trainable parameter has fewer bits.
    """
    low = {name: p.dtype for name, p in module.named_parameters() if p.requires_grad and p.element_size() < 4}
    if low:
        name, dtype = next(iter(low.items()))
        raise ConfigError(
            f"{len(low)} trainable tensors are not fp32 ({name}: {dtype}), so small updates would be rounded away. "
            f"Load what is trained in float32. Only frozen weights may have a smaller type."
        )
