"""What the optimizer sees: which parameters decay, and the learning rate as a function of the step."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from zoo import devices
from zoo.errors import ConfigError

_STEEP = 10
"""Learning rates of Adam are below 0.1, those of plain SGD and of Prodigy about 1, those of LARS below 10."""
_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)

Schedule = Literal["cosine", "linear", "constant"]
USUAL = partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.01)
"""Of a task that says nothing else."""


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


def made(optimizer_class: Callable[[Iterable], Optimizer], groups: list[dict[str, Any]]) -> Optimizer:
    """An optimizer that is fused where it can be, and whose state says which parameters it is of.

    Raises:
        ConfigError: a setting that it does not take, or nothing to train.
    """
    if not groups:
        raise ConfigError("nothing to train: every parameter of the network is frozen.")
    try:
        optimizer = optimizer_class(groups)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"model.optimizer: {error}.") from error
    prefer_fused(optimizer)
    optimizer.register_state_dict_post_hook(sign)
    optimizer.register_load_state_dict_pre_hook(keep_settings)
    return optimizer


def describe(optimizer: Optimizer) -> str:
    """Its class, and its settings that differ from those of the class."""
    usual = inspect.signature(type(optimizer)).parameters
    chosen = [f"{k} {v}" for k, v in optimizer.defaults.items() if k == "lr" or (k in usual and v != usual[k].default)]
    return ", ".join([type(optimizer).__name__, *chosen])


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


def bent(factor: Callable[[int, int], float], step: int, before: int, after: int) -> tuple[int, float, float] | None:
    """What becomes of the rates of a run that has done `step` steps when its end moves: None where they stay.

    Args:
        factor: of a step, and of how many there are in all.
        before: steps of the run until now.
        after: and from here.

    Returns:
        The first step (0-based) that would have another rate than until now, and both factors: one that is to come, or
        the last one, if all are done.
    """
    for k in range(min(step, before - 1), min(before, after)):
        if not math.isclose(was := factor(k, before), now := factor(k, after), rel_tol=1e-9):
            return k, was, now
    return None


def peak_lr(make: Callable[[Iterable[Any]], Optimizer]) -> float:
    """The learning rate that an optimizer is made with."""
    return float(make([nn.Parameter(torch.zeros(1))]).defaults.get("lr", 1.0))


def slips(optimizers: Iterable[Optimizer], warmup_steps: float, total_steps: int) -> Iterator[str]:
    """What looks like a slip in the learning rates, a line each.

    Args:
        warmup_steps: as a task has it; below 1, a share.
    """
    peak = max((g.get("initial_lr", g["lr"]) for optimizer in optimizers for g in optimizer.param_groups), default=0.0)
    if warmup_steps > total_steps:
        yield (
            f"model.warmup_steps is {warmup_steps:,} and the run has {total_steps:,} steps, so the learning rate never "
            f"rises to {peak:g}. A number below 1 is a share of all steps."
        )
    if peak > _STEEP:
        yield (
            f"model.optimizer.lr is {peak:g}, and hardly any network trains above {_STEEP}. Is the exponent missing, "
            f"as in 1.0e-3?"
        )


def set_lr(groups: Iterable[dict[str, Any]], factor: float) -> None:
    """Set each group's learning rate to `factor` times the one it was made with, and its own scale."""
    for group in groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor * group.get("lr_scale", 1.0)


def state_bytes(make: Callable[[Iterable[Any]], Optimizer]) -> float:
    """Bytes that an optimizer remembers per byte of parameter; tried on a small one. AdamW: 2."""
    p = nn.Parameter(torch.zeros(64, 64))
    p.grad = torch.zeros_like(p)
    try:
        optimizer = make([{"params": [p]}])
        optimizer.step()
    except Exception:  # one that wants more than a gradient; most keep two moments
        return 2.0
    state = [t for values in optimizer.state.values() for t in values.values() if isinstance(t, torch.Tensor)]
    return sum(t.nbytes for t in state) / p.nbytes


def on_device(optimizer: Optimizer) -> bool:
    """Whether a step is left out by a flag on the device (`found_inf`), so that the host need not look at it.

    torch's fused kernels can. SGD's would leave a momentum that was never written behind if its first step is left out,
    and fails where only some parameters have one: it can from the second step on, and such a step goes without it.
    """
    fused = isinstance(optimizer, _FUSED) and all(group.get("fused") for group in optimizer.param_groups)
    if not (fused and isinstance(optimizer, torch.optim.SGD)):
        return fused
    moving = [p for group in optimizer.param_groups if group["momentum"] for p in group["params"] if p.grad is not None]
    begun = [optimizer.state[p].get("momentum_buffer") is not None for p in moving]
    if any(begun) and not all(begun):
        for group in optimizer.param_groups:
            group["fused"] = None
    return all(begun)


def prefer_fused(optimizer: Optimizer) -> None:
    """On a CUDA GPU, let Adam, AdamW and SGD use their fused kernels, if the config does not say otherwise."""
    groups = optimizer.param_groups
    free = all(group.get("fused", False) is None and group.get("foreach") is None for group in groups)
    if free and all(devices.kind(p) == "cuda" and p.is_floating_point() for group in groups for p in group["params"]):
        for group in groups:
            group["fused"] = isinstance(optimizer, _FUSED) or None
    if hasattr(optimizer, "_step_supports_amp_scaling"):
        optimizer._step_supports_amp_scaling = False  # the scaler is to unscale before the gradient is clipped


def sign(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state, with the name of its class."""
    return {**state, "class": _class_name(optimizer)}


def keep_settings(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Of a saved state, take the moments only: the settings (lr, weight decay …) are those of the config in force.

    What another class of optimizer remembered is no use to this one, which starts fresh.
    """
    groups = [
        {**{k: v for k, v in ours.items() if k != "params"}, "params": theirs["params"]}
        for ours, theirs in zip(optimizer.param_groups, state["param_groups"], strict=True)
    ]
    known = state["state"] if state.get("class", _class_name(optimizer)) == _class_name(optimizer) else {}
    return {"state": known, "param_groups": groups}


def _class_name(optimizer: Optimizer) -> str:
    return f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"
