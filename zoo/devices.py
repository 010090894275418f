"""What kind of device a tensor is computed on: its own, or, while a plan is made, the GPU that the plan is for.

A plan (`zoo.vram`) runs a task's real code on tensors without content. What such code decides by device it asks here,
and what it tries out with numbers it does `aside`, with real ones.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

AMPERE = (8, 0)
"""The first GPUs with bf16 and flash attention."""


@dataclass(frozen=True)
class Plan:
    """A plan in the making.

    Args:
        kind: of device that it is for: cuda or cpu.
        capability: of that GPU, as (8, 9).
        host: steps out of it: inside, tensors have content again.
    """

    kind: str
    capability: tuple[int, int]
    host: Callable[[], AbstractContextManager[None]]


_plan: Plan | None = None


@contextmanager
def planned(plan: Plan | None) -> Iterator[None]:
    """Inside, this plan is made."""
    global _plan
    before, _plan = _plan, plan
    try:
        yield
    finally:
        _plan = before


def is_planned() -> bool:
    """Whether tensors have no content, so that no weights are needed."""
    return _plan is not None


@contextmanager
def aside() -> Iterator[None]:
    """Inside, no plan is made: what is computed is real."""
    if _plan is None:
        yield
        return
    with _plan.host(), planned(None):
        yield


def kind(at: Tensor | torch.device) -> str:
    """cpu, cuda …"""
    device = at.device if isinstance(at, Tensor) else at
    return device.type if _plan is None else _plan.kind


def capability(device: torch.device) -> tuple[int, int]:
    """Of a CUDA GPU."""
    return torch.cuda.get_device_capability(device) if _plan is None else _plan.capability
