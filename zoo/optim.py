"""What the optimizer sees: which parameters decay, and the learning rate as a function of the step."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

from torch import nn

Schedule = Literal["cosine", "linear", "constant"]


def spare_vectors(name: str, parameter: nn.Parameter) -> dict[str, Any]:
    """Matrices decay as the optimizer says; biases, norms and scalars never do."""
    return {} if parameter.ndim >= 2 else {"weight_decay": 0.0}


def parameter_groups(
    module: nn.Module, settings: Callable[[str, nn.Parameter], dict[str, Any]] = spare_vectors
) -> list[dict[str, Any]]:
    """Trainable parameters in one group for all that have the same settings.

    Groups come in the order of their first parameter, and parameters in that of `module.named_parameters()`, so that
    an optimizer's state can be put back.

    Args:
        settings: of a parameter by name: what a group of the optimizer may have, and `lr_scale`, a factor of its
            learning rate.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            own = settings(name, parameter)
            groups.setdefault(repr(sorted(own.items())), {**own, "params": []})["params"].append(parameter)
    return list(groups.values())


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
    """Set each group's learning rate to `factor` times the one it was made with, and its own scale."""
    for group in groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor * group.get("lr_scale", 1.0)
