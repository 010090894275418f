"""Every storage that is made on a device that is not there, and when it is let go of."""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo.vram.allocator import Event, Peak, replayed, rounded
from zoo.vram.kernels import workspace

_ATEN = torch.ops.aten


class Storages(TorchDispatchMode):
    """Notes births and deaths of the storages of fake tensors.

    What is computed of real tensors alone is computed for real, and takes memory of the host, which does not count.

    There is no content to decide anything: a number that code asks for is 0, and what depends on the content has the
    largest shape that it could have.
    """

    def __init__(self, kernels_take_memory: bool) -> None:
        super().__init__()
        self.kernels_take_memory = kernels_take_memory
        self.events: list[Event] = []
        self.phases: list[tuple[int, str]] = []
        """From which event on what is done."""
        self.kinds: dict[int, str] = {}
        self.operations: list[tuple[str, list[tuple[tuple[int, ...], torch.dtype]]]] = []
        """Names, and shapes and types of the results."""
        self._alive: dict[int, int] = {}
        self._count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if given and not any(isinstance(tensor, FakeTensor) for tensor in given):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if func is _ATEN._local_scalar_dense.default:
            return _zero(args[0].dtype)
        result = (_LARGEST.get(func) or func)(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, FakeTensor)]
        for tensor in made:
            self.note(tensor)
        self.operations.append((func._schema.name, [(tuple(t.shape), t.dtype) for t in made]))
        if self.kernels_take_memory and (size := workspace(func._schema.name, args)):
            self._born(size, "workspace")
            self._dead(self._count)
        return result

    def note(self, tensor: Tensor, kind: str | None = None) -> None:
        """Note the tensor's storage, and what it is."""
        storage: Any = tensor.untyped_storage()
        if not (number := getattr(storage, "_zoo_number", 0)):
            if not storage.nbytes():
                return
            number = storage._zoo_number = self._born(storage.nbytes())
            weakref.finalize(storage, self._dead, number).atexit = False
        if kind:
            self.kinds[number] = kind

    def _born(self, size: int, kind: str | None = None) -> int:
        self._count += 1
        self._alive[self._count] = rounded(size)
        self.events.append(Event(self._count, rounded(size), True))
        if kind:
            self.kinds[self._count] = kind
        return self._count

    def _dead(self, number: int) -> None:
        self.events.append(Event(number, self._alive.pop(number), False))

    def begin(self, phase: str) -> None:
        self.phases.append((len(self.events), phase))

    def forget(self) -> None:
        """Begin anew with what is there now."""
        self.events = [Event(number, size, True) for number, size in sorted(self._alive.items())]
        self.phases, self.operations = [], []
        self.kinds = {number: kind for number, kind in self.kinds.items() if number in self._alive}

    def peak(self) -> Peak:
        return replayed(self.events, self.kinds)


def _nonzero(x: Tensor) -> Tensor:
    return x.new_empty((x.numel(), x.ndim), dtype=torch.long)


def _unique(x: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.numel()), x.new_empty(x.shape, dtype=torch.long), x.new_empty(x.numel(), dtype=torch.long)


def _bincount(x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    return x.new_empty(minlength or x.numel(), dtype=torch.float64 if weights is not None else torch.long)


_LARGEST: dict[Any, Any] = {
    _ATEN.nonzero.default: _nonzero,
    _ATEN._unique2.default: _unique,
    _ATEN.bincount.default: _bincount,
}


def _zero(dtype: torch.dtype) -> bool | int | float:
    return False if dtype == torch.bool else 0.0 if dtype.is_floating_point else 0
