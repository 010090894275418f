"""Which samples a step sees, as a function of (seed, step), and how they become a batch."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from zoo import streams
from zoo.samples import INDEX, Batch, Item, Processor

_SORTED_TOGETHER = 50
"""Batches whose samples are sorted by length together: few enough that a batch is another one in each pass."""


class Order:
    """Which samples each training step sees: a function of (seed, step), endless, from any step on.

    Every pass over the data is a new permutation; its last batch is smaller when the sizes do not divide.

    Args:
        count: samples in the data.
        part: this process's share of a batch.
        first_step: read when a pass over the loader begins, so that a resumed run goes on where it was.
        lengths: [count]; samples of about the same length come into one batch. None for batches of any lengths.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        part: Callable[[list], list],
        first_step: Callable[[], int],
        lengths: Sequence[int] | None = None,
    ):
        self.count, self.batch_size, self.seed, self.part, self.first_step = count, batch_size, seed, part, first_step
        self.lengths = None if lengths is None else torch.as_tensor(lengths)
        self._pass: tuple[int, list[int]] = (-1, [])

    def __len__(self) -> int:
        return math.ceil(self.count / self.batch_size)

    def batch(self, step: int) -> list[tuple[int, int]]:
        """(step, sample) for every sample of the whole batch."""
        number, position = divmod(step, len(self))
        if self._pass[0] != number:
            order = streams.permutation(self.count, self.seed, "order", number)
            self._pass = number, (order if self.lengths is None else self._grouped(order, number)).tolist()
        start = position * self.batch_size
        return [(step, sample) for sample in self._pass[1][start : start + self.batch_size]]

    def _grouped(self, order: Tensor, number: int) -> Tensor:
        """The order of a pass, sorted by length within chunks of some batches, and the batches in a random order.

        What is left over, less than a batch, comes last, as ever.
        """
        assert self.lengths is not None
        size, count = self.batch_size, self.count // self.batch_size
        chunks = order[: count * size].split(_SORTED_TOGETHER * size)
        sorted_chunks = torch.cat([chunk[self.lengths[chunk].argsort(stable=True)] for chunk in chunks])
        batches = streams.permutation(count, self.seed, "order of batches", number)
        return torch.cat([sorted_chunks.view(count, size)[batches].flatten(), order[count * size :]])

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        step = self.first_step()
        while True:
            yield self.part(self.batch(step))
            step += 1


class Fixed:
    """The same batches, each time."""

    def __init__(self, batches: list[list[tuple[int, int]]]):
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.batches)


class Items(Dataset):
    """Items by (step, index), with their index; augmented from that pair alone, if a seed is given."""

    def __init__(self, items: Sequence[Item], processor: Processor, seed: int | None):
        self.items, self.processor, self.seed = items, processor, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[int, Item | None]:
        step, index = key
        item = self.items[index]
        if self.seed is not None and item is not None:
            item = self.processor.augment(item, streams.generator(self.seed, "augment", step, index))
        return index, item


class Collate:
    """Batches of items, with the number of each sample in its split: all that is drawn for it follows from that."""

    def __init__(self, processor: Processor):
        self.processor = processor

    def __call__(self, items: list[tuple[int, Item | None]]) -> Batch:
        readable = [(index, item) for index, item in items if item is not None]
        if not readable:
            return {}
        return {**self.processor.collate([item for _, item in readable]), INDEX: [index for index, _ in readable]}
