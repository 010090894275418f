"""torch's caching allocator for GPUs, as far as it decides how much is reserved. No torch in here.

Source: c10/cuda/CUDACachingAllocator.cpp of torch 2.13, native backend, one stream, no capacity limit.
"""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field

MIB = 2**20
_ROUNDED_TO = 512
_SMALL = MIB
"""Blocks up to this size come from pages of their own."""
_SMALL_PAGE, _LARGE_PAGE = 2 * MIB, 20 * MIB


def rounded(size: int) -> int:
    """What a storage of `size` bytes takes."""
    return -(-size // _ROUNDED_TO) * _ROUNDED_TO


class _Pool:
    """One segment that grows at its end, page by page (expandable_segments:True, as zoo sets it).

    A free block is taken by best fit and split; the last one, which can grow, is taken only where no other fits.
    """

    def __init__(self, page: int):
        self.page, self.mapped = page, 0
        self._free: list[tuple[int, int]] = []
        """(size, address), rising."""
        self._by_address: dict[int, int] = {}
        """Sizes of free blocks."""
        self._by_end: dict[int, int] = {}
        """Addresses of free blocks by their end."""

    def take(self, size: int) -> int:
        """The address of a block of `size` bytes."""
        i = bisect.bisect_left(self._free, (size, 0))
        if i < len(self._free) and sum(self._free[i]) == self.mapped and i + 1 < len(self._free):
            i += 1
        if i == len(self._free):
            return self._grow(size)
        have, address = self._remove(*self._free[i])
        if have > size:
            self._add(have - size, address + size)
        return address

    def _grow(self, size: int) -> int:
        start = self._by_end.get(self.mapped, self.mapped)
        if start < self.mapped:
            self._remove(self.mapped - start, start)
        self.mapped += -(-(start + size - self.mapped) // self.page) * self.page
        if start + size < self.mapped:
            self._add(self.mapped - start - size, start + size)
        return start

    def give_back(self, size: int, address: int) -> None:
        if (after := self._by_address.get(address + size)) is not None:
            size += self._remove(after, address + size)[0]
        if (before := self._by_end.get(address)) is not None:
            size += self._remove(address - before, before)[0]
            address = before
        self._add(size, address)

    def _add(self, size: int, address: int) -> None:
        bisect.insort(self._free, (size, address))
        self._by_address[address] = size
        self._by_end[address + size] = address

    def _remove(self, size: int, address: int) -> tuple[int, int]:
        del self._free[bisect.bisect_left(self._free, (size, address))]
        del self._by_address[address], self._by_end[address + size]
        return size, address


@dataclass(frozen=True)
class Event:
    """A storage is made, or let go of.

    Args:
        number: of the storage.
        size: bytes, as `rounded`.
    """

    number: int
    size: int
    is_birth: bool


@dataclass
class Peak:
    """The most that was taken.

    Args:
        allocated: bytes in storages.
        reserved: bytes that the allocator had taken from the GPU for them.
        parts: what the allocated ones were at that moment, by kind; their sum is `allocated`.
        curve: allocated bytes after each event.
    """

    allocated: int = 0
    reserved: int = 0
    parts: dict[str, int] = field(default_factory=dict)
    curve: list[int] = field(default_factory=list)


def replayed(events: Iterable[Event], kinds: dict[int, str], usual: str = "activations") -> Peak:
    """What the allocator would have come to.

    Args:
        kinds: of storages, by number; `usual` for all others.
    """
    pools = {True: _Pool(_SMALL_PAGE), False: _Pool(_LARGE_PAGE)}
    where: dict[int, int] = {}
    now: dict[str, int] = {}
    total, peak = 0, Peak()
    for event in events:
        pool, what = pools[event.size <= _SMALL], kinds.get(event.number, usual)
        if event.is_birth:
            where[event.number] = pool.take(event.size)
        else:
            pool.give_back(event.size, where.pop(event.number))
        change = event.size if event.is_birth else -event.size
        now[what] = now.get(what, 0) + change
        total += change
        peak.curve.append(total)
        if total > peak.allocated:
            peak.allocated, peak.parts = total, {name: size for name, size in now.items() if size}
    peak.reserved = sum(pool.mapped for pool in pools.values())
    return peak
