"""Random streams as functions of what they are for: the only source of randomness in zoo.

A stream is named by plain values – a seed, a purpose, a step, a sample – and is the same on every machine, in every
process and after every crash, because nothing of it lives between two uses.
"""

import hashlib
import random
from collections.abc import Iterator
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
