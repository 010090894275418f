"""What the processes of a run tell each other: few small messages a step, and gradients in buckets."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_BUCKET = 25 * 2**20
"""Bytes; as many as in DDP's own buckets."""
_AT_ONCE = 2
"""Buckets under way: more of them would be a second copy of all gradients."""
_alone = False


@contextmanager
def alone() -> Iterator[None]:
    """Inside, this process works by itself: it waits for no other, and no other for it."""
    global _alone
    _alone = True
    try:
        yield
    finally:
        _alone = False


def is_alone() -> bool:
    return _alone


def count() -> int:
    return dist.get_world_size() if not _alone and dist.is_available() and dist.is_initialized() else 1


def gather(value: Any) -> list[Any]:
    """This value of every process, in the order of their ranks. Slow: not for every step."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value)
    return values


def largest(numbers: Sequence[int], device: torch.device) -> list[int]:
    """Of each whole number, the largest that any process has. Every process has as many.

    Args:
        device: on which processes can exchange tensors, here and below.
    """
    if count() == 1:
        return [*numbers]  # and waits for no GPU
    found = torch.tensor(numbers, dtype=torch.int64, device=device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.tolist()


def in_any(flag: bool, device: torch.device) -> bool:
    """Whether it is true in any process."""
    return bool(largest([flag], device)[0])


class Together:
    """Adds named numbers over all processes, in one small tensor.

    Where a process has a new name, all of them agree on the names by a slow message. After the first step there is
    none.
    """

    def __init__(self) -> None:
        self._names: list[str] = []

    def add(
        self, mine: Mapping[str, Any], device: torch.device, flags: Sequence[bool] = ()
    ) -> tuple[dict[str, float], list[bool]]:
        """Sums by name, and for each flag whether any process has set it. Every process has the same number of flags.

        Args:
            mine: what this process adds, numbers or tensors of one; another may have other names, or none.
        """
        if count() == 1:
            return {name: float(number) for name, number in mine.items()}, [*flags]
        while True:
            news = any(name not in self._names for name in mine)
            numbers = [float(news), *(mine.get(name, 0.0) for name in self._names), *map(float, flags)]
            sums = _vector(numbers, device)
            dist.all_reduce(sums)
            anyones_news, *found = sums.tolist()
            if not anyones_news:
                named, flagged = found[: len(self._names)], found[len(self._names) :]
                return dict(zip(self._names, named, strict=True)), [number > 0 for number in flagged]
            everyones = [name for theirs in gather(list(mine)) for name in theirs]
            self._names = list(dict.fromkeys([*self._names, *everyones]))


def _vector(numbers: Sequence[Any], device: torch.device) -> Tensor:
    """[N] f64. Tensors on the device stay there; all else goes there at once."""
    vector = torch.tensor([0.0 if isinstance(x, Tensor) else x for x in numbers], dtype=torch.float64, device=device)
    for i, number in enumerate(numbers):
        if isinstance(number, Tensor):
            vector[i] = number
    return vector


def add_up(tensors: Sequence[Tensor]) -> None:
    """Add tensors over all processes, in place. Small ones go in buckets, as every message has a cost of its own."""
    if count() == 1:
        return
    under_way: list[tuple[list[Tensor], Tensor, Any]] = []
    for bucket in buckets(tensors):
        joined = bucket[0] if len(bucket) == 1 else torch.cat([tensor.flatten() for tensor in bucket])
        under_way.append((bucket, joined, dist.all_reduce(joined, async_op=True)))
        if len(under_way) > _AT_ONCE:
            _arrive(*under_way.pop(0))
    for sent in under_way:
        _arrive(*sent)


def _arrive(bucket: list[Tensor], joined: Tensor, work: Any) -> None:
    work.wait()
    if len(bucket) > 1:
        parts = joined.split([tensor.numel() for tensor in bucket])
        torch._foreach_copy_(bucket, [part.view_as(t) for part, t in zip(parts, bucket, strict=True)])


def buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in their order, as many of one type and device at a time as 25 MiB hold; a larger one alone."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        alike = not bucket or (tensor.dtype, tensor.device) == (bucket[0].dtype, bucket[0].device)
        if bucket and (not alike or size + tensor.nbytes > _BUCKET):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket
