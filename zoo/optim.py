"""What the optimizer sees: which parameters decay, and the learning rate as a function of the step."""

import math
from collections.abc import Iterable
from typing import Any, Literal

from torch import nn

Schedule = Literal["cosine", "linear", "constant"]


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: matrices decay as the optimizer says; biases, norms and scalars never do.

    Both keep the order of `module.named_parameters()`, so that an optimizer's state can be put back.
    """
    trainable = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for _, p in trainable if p.ndim >= 2]},
        {"params": [p for _, p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def lr_factor(step: int, total_steps: int, schedule: Schedule, warmup_steps: int) -> float:
    """What the peak learning rate is multiplied with at `step` (0-based), 0 < factor <= 1 before the end.

    A linear rise over `warmup_steps`, then a fall to 0 at `total_steps` along half a cosine or a line, or none.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress)) if schedule == "cosine" else 1 - progress


def set_lr(groups: Iterable[dict[str, Any]], factor: float) -> None:
    """Set each group's learning rate to `factor` times the one it was made with."""
    for group in groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
