"""Law 1 and law 2: a batch in pieces, with the gradient of the whole.

B samples in the batch · n samples in a piece
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from zoo import streams

Batch = dict[str, Any]
Count = Tensor | int | float
Pair = tuple[Tensor, Count]
Loss = Pair | Mapping[str, Pair]


def batch_length(batch: Batch) -> int:
    """Samples in the batch; 0 for an empty one (the last batch may leave a process without samples).

    Raises:
        ValueError: two entries disagree.
    """
    lengths = {name: len(value) for name, value in batch.items() if _is_per_sample(value)}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(
            f"a batch's entries differ in their number of samples ({found}). collate() must give every tensor the "
            f"sample as its first dimension and every list one entry per sample; what all share goes in a tuple."
        )
    return next(iter(lengths.values()), 0)


def _is_per_sample(value: object) -> bool:
    return isinstance(value, list) or (isinstance(value, Tensor) and value.ndim > 0)


def even_sizes(length: int, at_most: int | None) -> list[int]:
    """As few pieces as possible, as even as possible: 16 with at most 6 is [6, 5, 5]."""
    pieces = math.ceil(length / at_most) if at_most else min(1, length)
    return [length // pieces + (i < length % pieces) for i in range(pieces)]


def exact_sizes(length: int, size: int | None) -> list[int]:
    """Pieces of exactly `size`, and what is left: 9 by 4 is [4, 5], as one sample alone has no batch statistics."""
    if not size or length <= size:
        return [length] if length else []
    pieces, left = divmod(length, size)
    sizes = [size] * pieces
    if left == 1:
        sizes[-1] += 1
    return [*sizes, left] if left > 1 else sizes


Divide = Callable[[int, int | None], list[int]]
"""Sizes of the pieces of a batch, by its length and the size asked for: `even_sizes` or `exact_sizes`."""


def cut(batch: Batch, at_most: int | None, divide: Divide = even_sizes) -> Iterator[tuple[int, Batch]]:
    """The pieces of a batch in order, each with the index of its first sample."""
    start = 0
    for size in divide(batch_length(batch), at_most):
        window = slice(start, start + size)
        yield start, {name: value[window] if _is_per_sample(value) else value for name, value in batch.items()}
        start += size


def named(loss: Loss) -> dict[str, Pair]:
    """A loss as named (sum, count) pairs; a single pair is called "loss"."""
    return dict(loss) if isinstance(loss, Mapping) else {"loss": loss}


@dataclass
class Totals:
    """Sums and counts over the pieces seen so far, and the divisors that backward used for them."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, Tensor] = field(default_factory=dict)
    divisors: dict[str, Tensor] = field(default_factory=dict)

    def add(self, pairs: dict[str, Pair]) -> None:
        for name, (total, count) in pairs.items():
            detached, size = total.detach().float(), torch.as_tensor(count, device=total.device).detach().float()
            self.sums[name] = self.sums.get(name, 0) + detached
            self.counts[name] = self.counts.get(name, 0) + size

    def means(self) -> dict[str, Tensor]:
        return {name: total / self.counts[name].clamp(min=1) for name, total in self.sums.items()}


def accumulate(
    batch: Batch,
    *,
    at_most: int | None,
    loss: Callable[[Batch], Loss],
    backward: Callable[[Tensor], None],
    place: Callable[[Batch], Batch],
    stream: tuple[streams.Part, ...],
    counts: Mapping[str, Tensor] | None = None,
    divide: Divide = even_sizes,
) -> Totals:
    """Forward and backward of every piece; gradients add up in the parameters.

    The gradient left behind is that of `sum(total / divisor)`. How many targets the whole batch has is known only after
    its last piece, so a single pair is divided by a guess (the first piece's count, scaled up, to the nearest power of
    two, which rounds nothing and keeps 16-bit gradients in range) and `finish` mends it with one factor. Several pairs
    cannot be mended with one factor: they need `counts` from the start.

    Args:
        at_most: samples that go through the network at a time; None for all.
        place: moves a piece to the device.
        stream: names the random stream of this step; the piece's first sample is added, so what the network draws
            depends on nothing else.
        counts: targets of the whole batch by name, over all processes.
        divide: into pieces of how many samples.

    Raises:
        ValueError: several pairs, several pieces, and no counts.
    """
    totals, length = Totals(), batch_length(batch)
    for start, piece in cut(batch, at_most, divide):
        streams.seed(*stream, start)
        pairs = named(loss(place(piece)))
        if counts is None and len(pairs) > 1 and (batch_length(piece) < length or _processes() > 1):
            raise ValueError(
                f"the loss has several pairs ({', '.join(pairs)}), and the batch goes through in pieces. Write "
                f"count(batch) in the task: how many targets each pair has in a batch, read from the batch alone."
            )
        if not totals.divisors:
            share = length / batch_length(piece)
            totals.divisors = {n: _divisor(s, c, share, counts[n] if counts else None) for n, (s, c) in pairs.items()}
        parts = [total / totals.divisors[name] for name, (total, _) in pairs.items()]
        backward(torch.stack(parts).sum())
        totals.add(pairs)
    return totals


def _divisor(total: Tensor, count: Count, share: float, known: Tensor | None) -> Tensor:
    if known is not None:
        return known.to(total.device).clamp(min=1)
    guess = torch.as_tensor(count, device=total.device).detach().float() * share
    return torch.exp2(torch.log2(guess.clamp(min=1)).round())


def finish(totals: Totals, parameters: Iterable[Parameter]) -> Totals:
    """Turn the gradients of `accumulate` into those of the exact mean, over all pieces and all processes.

    Returns the totals of the whole batch. Gradients are reduced only here, after every process has got through all its
    pieces: a process that has to start over leaves no half-reduced gradient behind.
    """
    trained = [p for p in parameters if p.requires_grad]
    whole = totals
    if _processes() > 1:
        whole, has_gradient = _gather(totals, [p.grad is not None for p in trained])
        trained = [p for p, has in zip(trained, has_gradient, strict=True) if has]
        for p in trained:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
    gradients = [p.grad for p in trained if p.grad is not None]
    if len(totals.divisors) == 1:
        name, divisor = next(iter(totals.divisors.items()))
        torch._foreach_mul_(gradients, divisor / whole.counts[name].to(divisor.device).clamp(min=1))
    if _processes() > 1:
        for work in [dist.all_reduce(gradient, async_op=True) for gradient in gradients]:
            work.wait()
    return whole


def gather(value: Any) -> list[Any]:
    """This value of every process, in the order of their ranks."""
    if _processes() == 1:
        return [value]
    values: list[Any] = [None] * _processes()
    dist.all_gather_object(values, value)
    return values


def _gather(totals: Totals, has_gradient: list[bool]) -> tuple[Totals, list[bool]]:
    mine = {name: (totals.sums[name].item(), totals.counts[name].item()) for name in totals.sums}
    whole, everyone = Totals(divisors=totals.divisors), gather((mine, has_gradient))
    for theirs, _ in everyone:
        whole.add({name: (torch.tensor(total), count) for name, (total, count) in theirs.items()})
    return whole, [any(flags) for flags in zip(*(flags for _, flags in everyone), strict=True)]


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
