"""A batch in micro-batches, with the gradient of the whole batch.

B samples in the batch · n samples in a micro-batch
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from zoo import devices, streams
from zoo.errors import ConfigError
from zoo.loop import ranks
from zoo.loop.ranks import Together
from zoo.samples import INDEX, Batch

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
    """As few micro-batches as possible, as even as possible: 16 with at most 6 is [6, 5, 5]."""
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
"""Sizes of the micro-batches of a batch, by its length and the size asked for: `even_sizes` or `exact_sizes`."""


def cut(batch: Batch, at_most: int | None, divide: Divide = even_sizes) -> Iterator[tuple[int, Batch]]:
    """The micro-batches of a batch in order, each with the index of its first sample."""
    start = 0
    for size in divide(batch_length(batch), at_most):
        window = slice(start, start + size)
        yield start, {name: value[window] if _is_per_sample(value) else value for name, value in batch.items()}
        start += size


def first_sample(piece: Batch, start: int) -> int:
    """The number of a micro-batch's first sample in its split; `start` for a batch that no loader has made."""
    return piece[INDEX][0] if INDEX in piece else start


def named(loss: Loss, by: Callable[..., Any] | None = None) -> dict[str, Pair]:
    """A loss as named (sum, count) pairs; a single pair is called "loss".

    Args:
        by: the method that returned it.

    Raises:
        ConfigError: it is no pair, or a sum over no target.
    """
    pairs = dict(loss) if isinstance(loss, Mapping) else {"loss": loss}
    for name, pair in pairs.items():
        if wrong := _no_pair(pair):
            where = getattr(by, "__qualname__", "loss")
            what = f"{name}: {wrong}" if isinstance(loss, Mapping) else wrong
            raise ConfigError(
                f"{where} returned {what}. Return a pair (sum, count): the sum of the loss over its targets, and how "
                f"many targets there were."
            )
    return pairs


def _no_pair(pair: object) -> str:
    """What there is in place of a pair; "" where it is one. A count on a GPU is not waited for."""
    if not isinstance(pair, (tuple, list)):
        return _described(pair)
    if len(pair) != 2:
        return f"a {type(pair).__name__} of {len(pair)} values"
    total, count = pair
    if not isinstance(total, Tensor) or not _is_number(count):
        return f"({_described(total)}, {_described(count)})"
    at_hand = not devices.is_planned() and (count.device.type == "cpu" if isinstance(count, Tensor) else True)
    if at_hand and not (count > 0 or (count == 0 and not total.any())):
        return f"a count of {float(count):g}"
    return ""


def _is_number(value: object) -> bool:
    return value.numel() == 1 if isinstance(value, Tensor) else isinstance(value, (int, float))


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {[*value.shape]}" if value.ndim else "a single number"
    return "a single number" if isinstance(value, (int, float)) else "None" if value is None else type(value).__name__


@dataclass
class Totals:
    """Sums and counts over the micro-batches seen so far, and the divisors that backward used for them."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, Tensor] = field(default_factory=dict)
    divisors: dict[str, Tensor] = field(default_factory=dict)

    def add(self, pairs: dict[str, Pair]) -> None:
        for name, (total, count) in pairs.items():
            detached, size = total.detach().float(), on(total.device, count)
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
    to_device: Callable[[Batch], Batch],
    stream: tuple[streams.Part, ...],
    counts: Mapping[str, Tensor] | None = None,
    divide: Divide = even_sizes,
) -> Totals:
    """Forward and backward of every micro-batch; gradients add up in the parameters.

    The gradient left behind is that of `sum(total / divisor)`. How many targets the whole batch has is known only after
    its last micro-batch. So a single pair is divided by a guess (the count of the first micro-batch, scaled up, to the
    nearest power of two, which rounds nothing and keeps 16-bit gradients in range), and `finish` corrects it with one
    factor. Several pairs cannot be corrected with one factor: they need `counts` from the start.

    Args:
        at_most: samples that go through the network at a time; None for all.
        to_device: moves a micro-batch to the device.
        stream: names the random stream of this step; the micro-batch's first sample is added, so what the network draws
            depends on nothing else.
        counts: targets of the whole batch by name, over all processes.
        divide: into micro-batches of how many samples.

    Raises:
        ValueError: several pairs, several micro-batches, and no counts.
    """
    totals, length = Totals(), batch_length(batch)
    for start, piece in cut(batch, at_most, divide):
        streams.seed(*stream, start)
        pairs = named(loss(to_device(piece)), loss)
        if counts is None and len(pairs) > 1 and (batch_length(piece) < length or ranks.count() > 1):
            raise ValueError(
                f"the loss has several pairs ({', '.join(pairs)}), and the batch goes through in micro-batches. Write "
                "count_targets(batch) in the task: how many targets each pair has in a batch, read from it alone."
            )
        if not totals.divisors:
            share = length / batch_length(piece)
            totals.divisors = {n: _divisor(s, c, share, counts[n] if counts else None) for n, (s, c) in pairs.items()}
        parts = [total / totals.divisors[name] for name, (total, _) in pairs.items()]
        backward(torch.stack(parts).sum())
        totals.add(pairs)
    return totals


def on(device: torch.device, number: Count) -> Tensor:
    """A number on the device, f32. To upload one, the host waits for all that is queued; to make one, it need not."""
    if isinstance(number, Tensor):
        return number.detach().to(device, non_blocking=True).float()
    return torch.full((), float(number), device=device)


def _divisor(total: Tensor, count: Count, share: float, known: Tensor | None) -> Tensor:
    if known is not None:
        return known.to(total.device).clamp(min=1)
    guess = on(total.device, count) * share
    return torch.exp2(torch.log2(guess.clamp(min=1)).round())


@dataclass
class Whole:
    """Of a whole batch: its totals over all processes, and which parameters have a gradient in any of them."""

    totals: Totals
    has_gradient: list[bool]


def whole(totals: Totals | None, parameters: Sequence[Parameter], together: Together) -> Whole | None:
    """What all processes have of the batch; None if one of them has failed, which has no totals."""
    flags = [p.grad is not None for p in parameters]
    if ranks.count() == 1:
        return Whole(totals, flags) if totals else None
    mine: dict[str, Any] = {"failed": float(totals is None)}
    here = totals or Totals()
    for name in here.sums:
        mine |= {f"sum {name}": here.sums[name], f"count {name}": here.counts[name]}
    sums, flags = together.add(mine, parameters[0].device, flags)
    if totals is None or sums["failed"]:
        return None
    names = [key.removeprefix("sum ") for key in sums if key.startswith("sum ")]
    parts = ({name: torch.tensor(sums[f"{kind} {name}"]) for name in names} for kind in ("sum", "count"))
    return Whole(Totals(*parts), flags)


def finish(totals: Totals, whole: Whole, parameters: Sequence[Parameter]) -> None:
    """Turn the gradients of `accumulate` into those of the exact mean, over all micro-batches and all processes.

    Gradients are reduced only here, after every process has got through all its micro-batches: a process that has to
    start over leaves no half-reduced gradient behind.

    Args:
        totals: of this process, with the divisors that it used.
    """
    trained = [p for p, has in zip(parameters, whole.has_gradient, strict=True) if has]
    for p in trained:
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
    gradients = [p.grad for p in trained if p.grad is not None]
    if len(totals.divisors) == 1:
        name, divisor = next(iter(totals.divisors.items()))
        torch._foreach_mul_(gradients, divisor / whole.totals.counts[name].to(divisor.device).clamp(min=1))
    ranks.add_up(gradients)
