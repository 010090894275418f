"""Samples of text on disk: read once into an Arrow file under a key of what they were made from, and memory-mapped.

A sequence of them answers by index and in order; what is asked of all at once (lengths, hash) is done by Arrow.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from zoo.data.text_files import OddRowError, Row
from zoo.data.text_forms import Form, RowError, Values, text
from zoo.errors import DataError
from zoo.paths import cache_folder, sweep, write_text, write_whole

Part = tuple[str, Iterable[Row]]
"""Rows of one file, and what comes before their numbers in a message: "a.jsonl line"."""
_AT_ONCE = 1000
_CHARACTERS_AT_ONCE = 1 << 24
_INDICES_AT_ONCE = 100_000


@dataclass
class Facts:
    """What reading found: rows in all, those without text, and conclusions for the screen."""

    rows: int = 0
    empty: int = 0
    notes: list[str] = field(default_factory=list)


class Samples(Sequence):
    """Samples of one form over columns of texts, which may be memory-mapped.

    Args:
        columns: a text per row each, without nulls.
        indices: the rows that count; None for all.
    """

    def __init__(self, form: Form, columns: list[pa.ChunkedArray], facts: Facts, indices: np.ndarray | None = None):
        self.form, self.columns, self.facts, self.indices = form, columns, facts, indices

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> "Samples":
        kept = [one for one in texts if one.strip()]
        return cls(text("text"), [pa.chunked_array([kept], pa.large_string())], Facts(len(kept)))

    def select(self, indices: Sequence[int] | np.ndarray) -> "Samples":
        rows = np.asarray(indices, dtype=np.int64)
        return Samples(self.form, self.columns, self.facts, rows if self.indices is None else self.indices[rows])

    def of(self, facts: Facts) -> "Samples":
        return Samples(self.form, self.columns, facts, self.indices)

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
        """[N] int64: characters of each sample."""
        pieces = [sum(pc.utf8_length(c).to_numpy() for c in columns) for columns in self._pieces(_INDICES_AT_ONCE)]
        return np.concatenate([np.zeros(0, np.int64), *pieces]).astype(np.int64)

    def digest(self) -> str:
        """Hash of all that is in the samples, however the table is cut into pieces."""
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


# Reading into a table -------------------------------------------------------------------------------------------


def stored(
    key: str,
    form: Form,
    parts: Callable[[list[str]], Iterable[Part]],
    limit: int | None = None,
    columns: Callable[[list[str]], Iterable[pa.Array]] | None = None,
) -> Samples:
    """The samples under this key; read into the cache first if it has none.

    Args:
        parts: rows of each file; called with a list for notes.
        limit: stop after so many samples.
        columns: the same, as texts, many rows at a time, where that is possible. It raises
            OddRowError where a row is not as it should be: then all are read one by one.

    Raises:
        DataError: rows that cannot be used; the first is named, and all are counted.
    """
    path = cache_folder() / "read" / f"{key}.arrow"
    if not path.exists():
        sweep(path.parent)
        try:
            _write(path, form, lambda facts: _columns((columns or _odd)(facts.notes), facts, limit))
        except OddRowError:
            _write(path, form, lambda facts: _batches(parts(facts.notes), form, facts, limit))
    table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    facts = Facts(**json.loads(path.with_suffix(".json").read_text("utf-8")))
    return Samples(form, [table.column(name) for name in form.stored], facts)


def _write(path: Path, form: Form, batches: Callable[[Facts], Iterator[Any]]) -> None:
    facts = Facts()
    schema = pa.schema([(name, pa.large_string()) for name in form.stored])

    def write(file: Any) -> None:
        with pa.ipc.new_stream(file, schema) as writer:
            for columns in batches(facts):
                writer.write_batch(pa.record_batch(columns, schema=schema))
        write_text(path.with_suffix(".json"), json.dumps(asdict(facts)))

    write_whole(path, write)


def _odd(notes: list[str]) -> Iterator[pa.Array]:
    raise OddRowError


def _columns(columns: Iterable[pa.Array], facts: Facts, limit: int | None) -> Iterator[list[pa.Array]]:
    kept = 0
    for column in columns:
        empty = _empty(column)
        texts = column.filter(pc.invert(empty))
        if limit is not None and kept + len(texts) > limit:
            raise OddRowError  # how many rows were read for these is for the other way to count
        facts.rows += len(column)
        facts.empty += len(column) - len(texts)
        kept += len(texts)
        yield [texts]


def _empty(column: Any) -> Any:
    return pc.equal(pc.utf8_trim_whitespace(column), "")


def _batches(parts: Iterable[Part], form: Form, facts: Facts, limit: int | None) -> Iterator[list[Values]]:
    some: list[Values] = []
    kept, size, problems = 0, 0, _Problems()
    for where, number, row in ((where, *row) for where, rows in parts for row in rows):
        facts.rows += 1
        try:
            values = form.take(row)
            size += sum(map(len, values))
            _check_characters(values)
        except RowError as error:
            problems.add(f"{where} {number} {error}")
            continue
        if not values:
            facts.empty += 1
            continue
        some.append(values)
        kept += 1
        if len(some) == _AT_ONCE or size > _CHARACTERS_AT_ONCE:
            yield list(zip(*some, strict=True))
            some, size = [], 0
        if kept == limit:
            break
    problems.report(facts.rows)
    if some:
        yield list(zip(*some, strict=True))


def _check_characters(values: Values) -> None:
    for value in values:
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise RowError(f"has half a character (\\u{ord(value[error.start]):x}) in its text") from error


class _Problems:
    def __init__(self) -> None:
        self.first, self.count = "", 0

    def add(self, problem: str) -> None:
        self.first = self.first or problem
        self.count += 1

    def report(self, rows: int) -> None:
        if self.count:
            raise DataError(f"{self.first}; {self.count:,} of {rows:,} rows.")


def key(what: Any, files: Iterable[Path] = ()) -> str:
    """A name for what is read in this way from files of this content."""
    seal = xxhash.xxh3_128(json.dumps(what, default=str).encode())
    for path in files:
        seal.update(_seal(path))
    return seal.hexdigest()


def _seal(path: Path) -> bytes:
    content = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            content.update(block)
    return content.digest()


def of_column(form: Form, column: pa.ChunkedArray) -> Samples:
    """The texts of a column as it is, memory-mapped or not, without the empty ones."""
    column = pc.fill_null(column, "") if column.null_count else column
    empty = [_empty(chunk).to_numpy(zero_copy_only=False) for chunk in column.chunks]
    rows = np.flatnonzero(~np.concatenate([np.zeros(0, bool), *empty]))
    facts = Facts(len(column), len(column) - len(rows))
    return Samples(form, [column], facts, rows if facts.empty else None)


def joined(part: Part, column: str, join: str) -> Part:
    """All rows of a file as one document."""
    where, rows = part
    form = text(column)

    def one() -> Iterator[Row]:
        texts, problems = [], _Problems()
        for number, row in rows:
            try:
                form.take(row)
                texts.append(row[column] or "")
            except RowError as error:
                problems.add(f"{where} {number} {error}")
        problems.report(len(texts) + problems.count)
        yield 1, {column: join.join(texts)}

    return where, one()


def remembered(key: str, find: Callable[[], list[str]]) -> list[str]:
    """A few names, asked for once."""
    path = cache_folder() / "read" / f"{key}.names.json"
    if not path.exists():
        write_text(path, json.dumps(find()))
    return list(json.loads(path.read_text("utf-8")))
