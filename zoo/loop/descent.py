"""One step of one optimizer over a whole batch: what training does, and what the probe tries out."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import Parameter

from zoo.errors import ConfigError
from zoo.loop import recovery
from zoo.loop.microbatch import Loss
from zoo.loop.ranks import Together
from zoo.loop.recovery import Divisible
from zoo.samples import Batch

Count = Callable[[Batch], Mapping[str, Tensor] | None]


class Trained(Divisible, Protocol):
    """What a step must know of a task."""

    step_loss: Tensor
    targets_in_step: Any
    trainer: Any
    together: dict[str, Together]

    @property
    def seed(self) -> int: ...
    def optimizers(self) -> Any: ...
    def parameters(self) -> Iterator[Parameter]: ...
    def manual_backward(self, loss: Tensor, /) -> None: ...


def descend(
    task: Trained, batch: Batch, loss: Callable[[Batch], Loss], optimizer: Any, count: Count | None
) -> dict[str, Tensor]:
    """See `Task.descend`."""
    everyone, step, rank = task.optimizers(), task.global_step, task.global_rank
    which = everyone.index(optimizer) if isinstance(everyone, list) else 0
    with _alone_trained(task, optimizer) as parameters:
        totals = recovery.accumulate(
            task,
            batch,
            loss=loss,
            backward=lambda total: _backward(task, total),
            stream=(task.seed, f"network {which}" if which else "network", step, rank),
            counts=_counts(task, batch, count, which) if count else None,
            parameters=parameters,
            together=task.together[f"loss {which}"],
        )
        means = totals.means()
        task.step_loss = torch.stack(list(means.values())).sum()
        task.targets_in_step = next(iter(totals.counts.values()))
        recovery.update(task, optimizer)
    return means


@contextmanager
def _alone_trained(task: Trained, optimizer: Any) -> Iterator[list[Parameter]]:
    """The optimizer's parameters, without gradients, while no other ones are trained."""
    own = [p for group in optimizer.param_groups for p in group["params"]]
    others = {p for p in task.parameters() if p.requires_grad}.difference(own)
    for p in own:
        p.grad = None
    for p in others:
        p.requires_grad_(False)
    try:
        yield own
    finally:
        for p in others:
            p.requires_grad_(True)


def _backward(task: Trained, loss: Tensor) -> None:
    if not loss.requires_grad:
        raise ConfigError(
            "the loss depends on no trainable parameter, so there is no gradient at all. "
            "Is the whole network frozen, or does loss() detach its result?"
        )
    with without_sync(task.trainer):
        task.manual_backward(loss)


def without_sync(trainer: Any) -> AbstractContextManager[Any]:
    """Gradients stay in this process: all of them are added up when every process is through."""
    return trainer.strategy.block_backward_sync() if trainer.world_size > 1 else torch.enable_grad()


def _counts(task: Trained, batch: Batch, count: Count, which: int) -> dict[str, Tensor] | None:
    mine = (count(batch) if batch else None) or {}
    sums, _ = task.together[f"count {which}"].add(mine, task.device)
    return {name: torch.tensor(total) for name, total in sums.items()} or None
