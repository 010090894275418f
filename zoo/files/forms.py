"""Rows of tables as samples: read once into the cache, under a key of what they were made from, and memory-mapped.

A form says what rows are. A sequence of its samples answers by index and in order; what is asked of all at once
(lengths, hash) is done by Arrow.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from zoo.errors import DataError
from zoo.files import cache
from zoo.files.paths import printable
from zoo.files.tables import OddRowError, Row

Part = tuple[str, Iterable[Row]]
"""Rows of one file, and what comes before their numbers in a message: "a.jsonl line"."""
Values = tuple[Any, ...]
_AT_ONCE = 1000
_BYTES_AT_ONCE = 1 << 24
_INDICES_AT_ONCE = 100_000


class RowError(Exception):
    """A row that cannot be used, and why: what follows "a.jsonl line 3 "."""


@dataclass(frozen=True)
class Form:
    """How rows become samples, in two steps: values that Arrow can hold, and the sample made of them.

    Args:
        name: what the rows are, for the screen.
        columns: those of the source that are needed.
        stored: what Arrow holds of a row.
        take: the values of a row; empty where there is nothing to learn from. Raises RowError.
        make: the sample of the values.
        plain: what is stored are the cells as they are, and a row is empty where the first, if it is a text, is blank.
        join: all rows of a file are one, with this between their (only) texts; None where they are not.
    """

    name: str
    columns: tuple[str, ...]
    stored: pa.Schema
    take: Callable[[dict[str, Any]], Values]
    make: Callable[..., Any]
    plain: bool = False
    join: str | None = None


def class_name(row: dict[str, Any], column: str) -> str | None:
    """The class in a cell, as text; None for an empty one.

    Raises:
        RowError: it is none.
    """
    value = row.get(column)
    if isinstance(value, (dict, list)):
        raise RowError(f"has {str(value)[:40]} for '{column}', which is no name of a class")
    return None if value in (None, "") else str(value)


# Media: images and recordings, by their paths or in the table itself ---------------------------------------------

MEDIUM = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""An image or a recording inside a table, as `datasets` has it."""
_IN_BRACES = re.compile(r"\{([^{}]+)\}")


def is_medium(kind: pa.DataType | None) -> bool:
    """Whether a column of this type has the files themselves, rather than their paths."""
    return kind is not None and (pa.types.is_struct(kind) or pa.types.is_binary(kind))


def in_braces(pattern: str | None) -> list[str]:
    """The columns that a pattern names: id for train/{id}.jpg."""
    return _IN_BRACES.findall(pattern or "")


def filled(row: dict[str, Any], pattern: str) -> str | None:
    """The path that a pattern makes of a row; None where a cell is empty."""
    columns = in_braces(pattern)
    for name in columns:
        _has(row, name)
        if not isinstance(row[name], (str, int, type(None))):
            raise RowError(f"has {str(row[name])[:40]} for '{name}', which is no part of a path")
    values = {name: "" if row[name] is None else str(row[name]).strip() for name in columns}
    return _IN_BRACES.sub(lambda found: values[found[1]], pattern) if all(values.values()) else None


def path_in(row: dict[str, Any], column: str) -> str | None:
    """The path in a cell; None for an empty one."""
    _has(row, column)
    if not isinstance(value := row[column], (str, type(None))):
        raise RowError(f"has {str(value)[:40]} for '{column}', which is no path")
    return value if value and value.strip() else None


def media(row: dict[str, Any], column: str) -> dict[str, Any] | None:
    """A file inside the table, as MEDIUM; None for an empty cell."""
    value = row[column] if isinstance(row[column], dict) else {"bytes": row[column]}
    content, path = value.get("bytes"), value.get("path")
    if not isinstance(content, (bytes, type(None))) or not isinstance(path, (str, type(None))):
        raise RowError(f"has no file for '{column}', but something else")
    return {"bytes": content, "path": path} if content or path else None


def _has(row: dict[str, Any], column: str) -> None:
    if column not in row:
        raise RowError(f"lacks '{column}' (has {', '.join(repr(name) for name in row) or 'nothing'})")


class Cell:
    """One file inside a memory-mapped table, read when it is called for.

    Args:
        key: of all that is in the table, for what is remembered of it.
    """

    def __init__(self, table: Any, column: str, row: int, key: str = ""):
        self.table, self.column, self.row, self.key = table, column, row, key

    def __call__(self) -> Any:
        value = self.table.column(self.column)[self.row].as_py()
        return (value["bytes"] or value["path"]) if isinstance(value, dict) else value


# Samples --------------------------------------------------------------------------------------------------------


class Samples(Sequence):
    """Samples of one form over columns of Arrow, which may be memory-mapped.

    Args:
        columns: a value per row each.
        indices: the rows that count; None for all.
    """

    def __init__(self, form: Form, columns: list[pa.ChunkedArray], indices: np.ndarray | None = None):
        self.form, self.columns, self.indices = form, columns, indices

    def select(self, indices: Sequence[int] | np.ndarray) -> "Samples":
        rows = np.asarray(indices, dtype=np.int64)
        return Samples(self.form, self.columns, rows if self.indices is None else self.indices[rows])

    def __len__(self) -> int:
        return len(self.columns[0]) if self.indices is None else len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.select(range(*index.indices(len(self))))
        if not 0 <= index < len(self):
            raise IndexError(index)
        row = int(index if self.indices is None else self.indices[index])
        return self.form.make(*(column[row].as_py() for column in self.columns))

    def __iter__(self) -> Iterator[Any]:
        for columns in self._pieces(_AT_ONCE):
            for values in zip(*(column.to_pylist() for column in columns), strict=True):
                yield self.form.make(*values)

    def _pieces(self, count: int) -> Iterator[list[pa.ChunkedArray]]:
        """The rows that count, so many at a time."""
        for start in range(0, len(self), count):
            if self.indices is None:
                yield [column.slice(start, count) for column in self.columns]
            else:
                rows = pa.array(self.indices[start : start + count])
                yield [column.take(rows) for column in self.columns]

    @cached_property
    def lengths(self) -> np.ndarray:
        """[N] int64: characters of the texts of each sample."""
        texts = [i for i, column in enumerate(self.columns) if _is_text(column.type)]
        pieces = [
            sum(pc.fill_null(pc.utf8_length(columns[i]), 0).to_numpy() for i in texts)
            for columns in self._pieces(_INDICES_AT_ONCE)
        ]
        return np.concatenate([np.zeros(0, np.int64), *pieces]).astype(np.int64)

    def values(self, name: str) -> list[Any]:
        """What is stored under this name, of all samples."""
        column = self.form.stored.names.index(name)
        return [value for columns in self._pieces(_INDICES_AT_ONCE) for value in columns[column].to_pylist()]

    def digest(self) -> str:
        """Hash of all that is in the samples' texts, however the table is cut into pieces."""
        texts, lengths = xxhash.xxh3_128(self.form.make.__name__.encode()), xxhash.xxh3_128()
        for columns in self._pieces(_INDICES_AT_ONCE):
            for column in columns:
                for chunk in filter(len, column.chunks):
                    _, offsets, data = chunk.buffers()
                    wide = np.dtype(np.int64 if pa.types.is_large_string(chunk.type) else np.int32)
                    bounds = np.frombuffer(offsets, wide)[chunk.offset : chunk.offset + len(chunk) + 1]
                    lengths.update(np.diff(bounds).astype(np.int64).tobytes())
                    if data is not None:
                        texts.update(memoryview(data)[int(bounds[0]) : int(bounds[-1])])
        return texts.hexdigest() + lengths.hexdigest()


@dataclass
class Found:
    """What reading a source found.

    Args:
        samples: in a fixed order.
        notes: what was concluded, for the screen.
        table: that the samples lie in, with `column(name)` as Arrow has it; cheap to send to another process.
        counts: of the samples, by file.
        files: that were read.
    """

    samples: Any
    notes: list[str] = field(default_factory=list)
    table: Any = None
    counts: list[int] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


# Reading into a table -------------------------------------------------------------------------------------------


def read(
    name: str,
    form: Form,
    parts: Callable[[list[str]], Iterable[Part]],
    limit: int | None = None,
    columns: Callable[[list[str]], Iterable[Iterable[pa.Array]]] | None = None,
) -> Found:
    """The samples under this name; read into the cache first if it has none.

    Args:
        parts: rows of each file; called with a list for notes.
        limit: stop after so many samples.
        columns: the only column of each file as texts, many rows at a time, where that is possible. It raises
            OddRowError where a row is not as it should be: then all are read one by one.

    Raises:
        DataError: rows that cannot be used; the first is named, and all are counted.
    """
    try:
        table = cache.table("read", name, lambda facts: _by_column(columns or _odd, form, facts, limit))
    except OddRowError:
        table = cache.table("read", name, lambda facts: _by_row(parts, form, facts, limit))
    facts = table.facts
    empty = [f"{facts['empty']:,} empty rows left out"] if facts["empty"] else []
    samples = Samples(form, [table.column(column) for column in form.stored.names])
    return Found(samples, facts["notes"] + empty, table, facts["counts"])


def _odd(notes: list[str]) -> Iterator[Iterable[pa.Array]]:
    raise OddRowError


def _by_column(columns: Callable, form: Form, facts: dict[str, Any], limit: int | None) -> Iterator[pa.RecordBatch]:
    facts |= {"empty": 0, "notes": [], "counts": []}
    counts = facts["counts"]
    for column in columns(facts["notes"]):
        counts.append(0)
        for cells in column:
            texts = cells.filter(pc.invert(_blank(cells)))
            facts["empty"] += len(cells) - len(texts)
            counts[-1] += len(texts)
            if limit is not None and sum(counts) > limit:
                raise OddRowError  # how many rows were read for these is for the other way to count
            yield pa.record_batch([texts], schema=form.stored)
    yield _batch([], form)


def _blank(column: Any) -> Any:
    return pc.equal(pc.utf8_trim_whitespace(column), "")


def _by_row(parts: Callable, form: Form, facts: dict[str, Any], limit: int | None) -> Iterator[pa.RecordBatch]:
    facts |= {"empty": 0, "notes": []}
    some: list[Values] = []
    counts: Counter[int] = Counter()
    rows, size, problems = 0, 0, _Problems()
    for file, where, number, row in _rows(parts(facts["notes"]), form):
        rows += 1
        try:
            values = form.take(row)
            size += sum(map(_size, values))
        except RowError as error:
            problems.add(f"{where} {number} {error}")
            continue
        if not values:
            facts["empty"] += 1
            continue
        some.append(values)
        counts[file] += 1
        if len(some) == _AT_ONCE or size > _BYTES_AT_ONCE:
            yield _batch(some, form)
            some, size = [], 0
        if counts.total() == limit:
            break
    problems.report(rows)
    facts["counts"] = [counts[file] for file in range(max(counts, default=-1) + 1)]
    yield _batch(some, form)


def _rows(parts: Iterable[Part], form: Form) -> Iterator[tuple[int, str, int, dict[str, Any]]]:
    for file, (where, rows) in enumerate(parts):
        for number, row in rows if form.join is None else _joined(where, rows, form):
            yield file, where, number, row


def _batch(some: list[Values], form: Form) -> pa.RecordBatch:
    columns = zip(*some, strict=True) if some else [()] * len(form.stored)
    return pa.record_batch([pa.array(c, kind) for c, kind in zip(columns, form.stored.types, strict=True)], form.stored)


def _size(value: Any) -> int:
    """About how many bytes a value takes.

    Raises:
        RowError: it cannot be written as UTF-8.
    """
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise RowError(f"has half a character (\\u{ord(value[error.start]):x}) in its text") from error
    return len(value) if isinstance(value, (str, bytes)) else 8


class _Problems:
    def __init__(self) -> None:
        self.first, self.count = "", 0

    def add(self, problem: str) -> None:
        self.first = self.first or problem
        self.count += 1

    def report(self, rows: int) -> None:
        if self.count:
            raise DataError(f"{printable(self.first)}; {self.count:,} of {rows:,} rows.")


def _joined(where: str, rows: Iterable[Row], form: Form) -> Iterator[Row]:
    """All rows of a file as one."""
    texts, problems = [], _Problems()
    for number, row in rows:
        try:
            form.take(row)
            texts.append(row[form.columns[0]] or "")
        except RowError as error:
            problems.add(f"{where} {number} {error}")
    problems.report(len(texts) + problems.count)
    yield 1, {form.columns[0]: (form.join or "").join(texts)}


def as_they_are(form: Form, table: Any) -> Found | None:
    """The samples of a table whose cells need no second form, without a copy; None where they do.

    Args:
        table: with `column(name)` as Arrow has it.
    """
    columns = [table.column(name) for name in form.columns]
    fits = [column.type == kind or (_is_text(column.type) and _is_text(kind)) for column, kind in
            zip(columns, form.stored.types, strict=True)]  # fmt: skip
    if not form.plain or form.join is not None or not all(fits):
        return None
    if not _is_text(columns[0].type):
        return Found(Samples(form, columns), table=table)
    if columns[0].null_count:
        columns[0] = pc.fill_null(columns[0], "")
    empty = [_blank(chunk).to_numpy(zero_copy_only=False) for chunk in columns[0].chunks]
    rows = np.flatnonzero(~np.concatenate([np.zeros(0, bool), *empty]))
    blank = len(columns[0]) - len(rows)
    notes = [f"{blank:,} empty rows left out"] if blank else []
    return Found(Samples(form, columns, rows if blank else None), notes, table)
