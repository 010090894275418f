"""Samples that cannot be read: named, listed, counted, and a limit to them. One record for all worker processes."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zoo.errors import DataError

_NAMED = 10
_FEW, _TENTH = 5, 0.1
"""So many broken samples never stop a run, where they are at most this share: one bad file in 99 is no reason."""


@dataclass(frozen=True)
class Bad:
    """A sample that cannot be read, and why."""

    split: str
    sample: str
    reason: str


class BadSamples:
    """The list of what could not be read, in memory and, once there is a place for it, on disk.

    Args:
        limit: share of a split's samples above which the run stops, unless they are very few. 0 for none at all.
    """

    def __init__(self, limit: float):
        self.limit = limit
        self.path: Path | None = None
        self.without_run: Path | None = None
        """Where the list goes if too many are broken before there is a run; written anew."""
        self.found: list[Bad] = []
        self._written = 0

    def add(self, split: str, samples: list[tuple[str, str]], of: int) -> None:
        """Name these (sample, reason), all of one split of so many samples.

        Raises:
            DataError: with those that were known, they are more than the limit.
        """
        fresh = [Bad(split, *sample) for sample in samples]
        self.found += fresh
        for bad in fresh[:_NAMED]:
            print(f"data: {split}: left out {bad.sample}: {bad.reason}", flush=True)
        if len(fresh) > _NAMED:
            print(f"data: {split}: and {len(fresh) - _NAMED} more", flush=True)
        count = sum(bad.split == split for bad in self.found)
        allowed = max(self.limit * of, min(_FEW, _TENTH * of)) if self.limit else 0
        if count > allowed:
            if self.path is None and self.without_run:
                self.path = self.without_run
                self.path.unlink(missing_ok=True)
            listed = f"They are listed in {self.path}. " if self.write() else ""
            raise DataError(
                f"data.{split}: {count:,} of {of:,} samples cannot be read ({count / of:.1%}; up to {int(allowed):,} "
                f"are left out). {listed}Fix or remove them, or allow more: data.max_broken."
            )
        self.write()

    def write(self) -> bool:
        """Add what is new to the list on disk, if there is a place for it. False if that is not possible."""
        if self.path is None or self._written == len(self.found):
            return self.path is not None
        rows = [json.dumps(vars(bad), ensure_ascii=False) + "\n" for bad in self.found[self._written :]]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8", errors="surrogateescape") as file:
                file.writelines(rows)
        except OSError as error:  # they have been named, and training does not depend on the list
            print(f"data: {self.path} cannot be written: {error.strerror or error}.", file=sys.stderr)
            return False
        self._written = len(self.found)
        return True


class Flags:
    """Which samples of a split a worker could not read: seen by all processes, as it lies in shared memory."""

    def __init__(self, count: int):
        self.flags = torch.zeros(count, dtype=torch.bool).share_memory_()
        self._known: set[int] = set()

    def set(self, index: int) -> None:
        self.flags[index] = True

    def fresh(self) -> list[int]:
        """Samples flagged since the last call, in their order."""
        if int(self.flags.numpy().sum()) == len(self._known):
            return []
        new = [i for i in self.flags.nonzero().flatten().tolist() if i not in self._known]
        self._known.update(new)
        return new

    def __getitem__(self, index: int) -> Any:
        return bool(self.flags[index])
