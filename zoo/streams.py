"""Random streams as functions of what they are for: the only source of randomness in zoo.

A stream is named by plain values – a seed, a purpose, a step, a sample – and is the same on every machine, in every
process and after every crash, because nothing of it lives between two uses.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

Part = int | str


def number(*parts: Part) -> int:
    """The stream's number: 0 .. 2**63 - 1, by BLAKE2b over the parts."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: Part) -> torch.Generator:
    """A generator of its own (CPU), for what zoo draws."""
    return torch.Generator().manual_seed(number(*parts))


def permutation(count: int, *parts: Part) -> Tensor:
    """[count] int64: an order of 0 .. count - 1."""
    return torch.randperm(count, generator=generator(*parts))


class Draws:
    """The streams of one batch, one for all of it and one for each sample. Each use begins them anew.

    Args:
        whole: name of the stream for the whole batch.
        samples: names of the streams of its samples.
    """

    def __init__(self, whole: Sequence[Part], samples: Sequence[Sequence[Part]]):
        self._whole, self._samples = whole, samples

    def whole(self, *purpose: Part) -> torch.Generator:
        """For what takes several samples at once: which are mixed with each other, say."""
        return generator(*self._whole, *purpose)

    def each(self, draw: Callable[[torch.Generator], Tensor], *purpose: Part) -> Tensor:
        """[B, …]: what `draw` makes of the stream of each sample, the same whatever batch the sample is in.

        Args:
            purpose: tells apart what is drawn in several calls.
        """
        return torch.stack([draw(generator(*names, *purpose)) for names in self._samples])


def seed(*parts: Part) -> None:
    """Start the global generators here, for what a network draws by itself (dropout, layerdrop, initial weights)."""
    start = number(*parts)
    torch.manual_seed(start)
    np.random.seed(start % 2**32)  # noqa: NPY002 - networks of other libraries draw from the global one
    random.seed(start)


@contextmanager
def seeded(*parts: Part) -> Iterator[None]:
    """Global generators start at this stream inside, and go on outside as if nothing had been drawn."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng():
        seed(*parts)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
