"""A batch on its way from the loader to the loss: what is drawn for it, as a function of seed, step and sample."""

from typing import Any, Protocol

import torch
from torch import Tensor

from zoo import streams
from zoo.loop import microbatch
from zoo.samples import INDEX, Batch, Split
from zoo.streams import Draws

_SPLITS: dict[str, Split] = {
    "train": "train", "sanity_check": "validation", "validate": "validation", "test": "test", "predict": "predict",
}  # fmt: skip
"""By Lightning's name of the stage."""


class Prepares(Protocol):
    """What is asked of a task."""

    @property
    def seed(self) -> int: ...
    @property
    def global_rank(self) -> int: ...
    @property
    def device(self) -> torch.device: ...
    def prepare(self, batch: Batch, draws: Draws, split: Split, /) -> Batch: ...


def split_in_hand(trainer: Any) -> Split:
    return _SPLITS[trainer.state.stage.value]


def prepared(task: Prepares, batch: Batch, split: Split, step: int = 0, seed: int | None = None) -> Batch:
    """What the task's `prepare` makes of a batch.

    Args:
        step: of training.
        seed: null for that of the run.
    """
    if not batch:  # the last one may leave a process without samples
        return batch
    seed = task.seed if seed is None else seed
    index = batch.get(INDEX) or list(range(microbatch.batch_length(batch)))
    whole: tuple[streams.Part, ...] = (seed, split, "batch", index[0])
    each: list[tuple[streams.Part, ...]] = [(seed, split, i) for i in index]
    if split == "train":
        whole, each = (seed, "mix", step, task.global_rank), [(seed, "sample", step, i) for i in index]
    found = task.prepare({**batch, INDEX: index}, Draws(whole, each), split)
    return _pinned(found) if task.device.type == "cuda" else found


def _pinned(batch: Batch) -> Batch:
    """What `prepare` made anew, in memory from where it goes to a GPU without a wait."""
    return {name: x.pin_memory() if isinstance(x, Tensor) and not x.is_pinned() else x for name, x in batch.items()}
