"""Documents of tokens, cut into segments and packed into windows, over a memory-mapped file.

T tokens of a window · S segments · a segment is a part of one document, at most T tokens long
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np

from zoo.errors import DataError

IGNORED = -100
Packing = bool | Literal["concat", "joined"]
"""`joined` is another word for concat."""


class Windows(Sequence):
    """Windows of at most T tokens; nothing of the file is in memory but what is asked for.

    Every item has `input_ids`, `targets` (each the token after, or IGNORED) and `position_ids` (from 0 in every
    segment), [T] each, and `segments`, how many there are in it. A token is a target in the first segment that has it;
    the first token of a document never is, as nothing comes before it.

    Args:
        documents: a data set with a column `input_ids`, and `loss_mask` (0 or 1 per token) where not all tokens are
            targets.
        length: T.
        stride: tokens from one segment of a document to the next. At less than T they overlap, and every target has
            at least T - stride tokens before it; at T the first token of a segment is no target.
        packing: True for as many segments in a window as fit (best fit, the longest first; Ding et al. 2024,
            arXiv:2404.10830); False for one; "concat" to take all documents as one, which a segment may cross (not
            where only some tokens carry loss).
    """

    def __init__(self, documents: Any, length: int, stride: int, packing: Packing = True):
        self.documents, self.length = documents, length
        is_one = packing in ("concat", "joined") and self._flags is None
        bounds = self._bounds[[0, -1]] if is_one else self._bounds
        self.starts, self.stops, self.firsts = segments(bounds, length, stride)
        self.unlearned = 0
        """Documents that have no token to learn; they are left out."""
        if self._flags is not None:
            self._drop_unlearned()
        lengths = self.stops - self.starts
        fitted = pack(lengths, length) if packing and not is_one else [[i] for i in range(len(lengths))]
        self._order = np.array([i for row in fitted for i in row], dtype=np.int64)
        self._rows = np.cumsum([0, *(len(row) for row in fitted)])

    @property
    def total(self) -> int:
        """Tokens of all documents."""
        return int(self._bounds[-1])

    @cached_property
    def _chunks(self) -> list[np.ndarray]:
        return [chunk.flatten().to_numpy() for chunk in self.documents.data.column("input_ids").chunks]

    @cached_property
    def _chunk_bounds(self) -> np.ndarray:
        return np.cumsum([0, *(len(chunk) for chunk in self._chunks)])

    @cached_property
    def _flags(self) -> list[np.ndarray] | None:
        if "loss_mask" not in self.documents.data.column_names:
            return None
        return [chunk.flatten().to_numpy() for chunk in self.documents.data.column("loss_mask").chunks]

    @cached_property
    def _bounds(self) -> np.ndarray:
        """[documents + 1]: where each begins in the stream of them all."""
        chunks = self.documents.data.column("input_ids").chunks
        return np.cumsum(np.concatenate([[0], *(chunk.value_lengths().to_numpy() for chunk in chunks)]), dtype=np.int64)

    def __getstate__(self) -> dict[str, Any]:  # workers map the file themselves
        return {k: v for k, v in vars(self).items() if k not in ("_chunks", "_chunk_bounds", "_flags", "_bounds")}

    def _drop_unlearned(self) -> None:
        counts = self._targets_in(self.starts + self.firsts, self.stops)
        document = np.searchsorted(self._bounds, self.starts, side="right")
        documents = len(self._bounds) - 1
        self.unlearned = documents - len(np.unique(document[counts > 0]))
        if self.unlearned == documents:
            raise DataError(
                "no sample has a token that carries loss: the assistant says nothing in them, and no prompt has a "
                "completion. --data.show 3 shows samples. Is the model's chat template the right one?"
            )
        self.starts, self.stops, self.firsts = (part[counts > 0] for part in (self.starts, self.stops, self.firsts))

    def _targets_in(self, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """[S]: tokens that carry loss between the bounds of each segment. No segment crosses a chunk."""
        counts = np.zeros(len(starts), dtype=np.int64)
        home = np.searchsorted(self._chunk_bounds, starts, side="right") - 1
        for i, flags in enumerate(self._flags or []):
            until = np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])
            mine = home == i
            counts[mine] = until[stops[mine] - self._chunk_bounds[i]] - until[starts[mine] - self._chunk_bounds[i]]
        return counts

    @property
    def lengths(self) -> np.ndarray:
        """[windows]: tokens of each."""
        return np.add.reduceat((self.stops - self.starts)[self._order], self._rows[:-1])

    def describe(self) -> str:
        """How full the windows are, and what was left out."""
        filled = float((self.stops - self.starts).sum() / max(1, len(self) * self.length))
        left_out = f", {self.unlearned:,} samples without loss left out" if self.unlearned else ""
        return f"{len(self):,} sequences of {self.length} tokens, {filled:.0%} full{left_out}"

    def scored(self) -> np.ndarray:
        """[total] bool: the tokens of the stream that are targets somewhere (all that carry loss)."""
        marks = np.zeros(self.total, dtype=bool)
        for start, stop, first in zip(self.starts, self.stops, self.firsts, strict=True):
            marks[start + first : stop] = True
        return marks

    def __len__(self) -> int:
        return len(self._rows) - 1

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        chosen = self._order[self._rows[index] : self._rows[index + 1]]
        starts, stops, firsts = self.starts[chosen], self.stops[chosen], self.firsts[chosen]
        lengths = stops - starts
        ids = self._read(self._chunks, starts, stops)
        positions = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        has_next = positions + 1 < np.repeat(lengths, lengths)
        is_target = has_next & (positions + 1 >= np.repeat(firsts, lengths))
        if self._flags is not None:
            is_target[:-1] &= self._read(self._flags, starts, stops)[1:] == 1
        targets = np.full(len(ids), IGNORED, dtype=np.int64)
        targets[:-1][is_target[:-1]] = ids[1:][is_target[:-1]]
        return {"input_ids": ids, "targets": targets, "position_ids": positions, "segments": len(chosen)}

    def tokens(self, start: int, stop: int) -> np.ndarray:
        """[stop - start] int32 of the stream."""
        return self._read(self._chunks, np.array([start]), np.array([stop]))

    def _read(self, chunks: list[np.ndarray], starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """What is between the bounds of each segment, one after the other."""
        bounds, parts = self._chunk_bounds, []
        low, high = np.searchsorted(bounds, [starts, stops - 1], side="right") - 1
        for start, stop, first, last in zip(*(x.tolist() for x in (starts, stops, low, high)), strict=True):
            parts += [chunks[i][max(start - bounds[i], 0) : stop - bounds[i]] for i in range(first, last + 1)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def segments(bounds: np.ndarray, length: int, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each segment starts and stops in the stream, and how many of its first tokens are no targets: [S] each.

    Args:
        bounds: [documents + 1], where each document begins.

    A document shorter than two tokens has no target, and so no segment.
    """
    sizes = np.diff(bounds)
    again = max(1, length - stride)  # tokens that a later segment has for context only
    counts = np.where(sizes > 1, np.maximum(1, -((again - sizes) // stride)), 0)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)  # within its document
    starts = np.repeat(bounds[:-1], counts) + number * stride
    stops = np.minimum(starts + length, np.repeat(bounds[1:], counts))
    return starts, stops, np.where(number == 0, 1, again)


def pack(lengths: np.ndarray, room: int) -> list[list[int]]:
    """Which segments share a window of `room` tokens: the longest first, each where it leaves the least room.

    Returns their indices, rising in every window, windows by their first one.
    """
    rows: list[list[int]] = []
    by_room: dict[int, list[int]] = {}  # rows by the tokens that still fit
    rooms: list[int] = []  # the keys of by_room, rising
    for i in np.argsort(-lengths, kind="stable").tolist():
        size = int(lengths[i])
        at = bisect_left(rooms, size)
        if at == len(rooms):
            rows.append([])
            row, left = len(rows) - 1, room - size
        else:
            left = rooms[at] - size
            row = by_room[rooms[at]].pop()
            if not by_room[rooms[at]]:
                del by_room[rooms.pop(at)]
        rows[row].append(i)
        if left > 1:
            if left not in by_room:
                insort(rooms, left)
            by_room.setdefault(left, []).append(row)
    return sorted(sorted(row) for row in rows)
