"""What is kept between runs because it can be made again: Arrow tables and small facts, each under a key, checksummed.

A file is an Arrow stream, then facts as JSON, the length of these, and a checksum. A file that is cut off, emptied or
changed is made anew. Where nothing can be written, a table stays in memory.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from zoo.errors import UserError
from zoo.files import checksums
from zoo.files.paths import cache_folder, sweep, write_whole

Batches = Callable[[dict[str, Any]], Iterable[pa.RecordBatch]]
"""The rows of a table in batches of one schema, at least one; called with a dictionary for facts about them."""
_LENGTH_BYTES = 8
_SHAPE = ".shape"


def key(what: Any, *more: bytes) -> str:
    """A name for what is made in this way: `what` as JSON has it, and hashes of contents."""
    seen = xxhash.xxh3_128(json.dumps(what, default=str).encode())
    for part in more:
        seen.update(part)
    return seen.hexdigest()


def table(kind: str, name: str, batches: Batches) -> "Table":
    """The table of this name; made first if there is none, or a damaged one.

    Args:
        kind: a folder of the cache.
    """
    path = cache_folder() / kind / f"{name}.arrow"
    if path.exists():
        if (found := _opened(path)) is not None:
            return found
        print(f"data: {path} in the cache is damaged, so it is made anew.", flush=True)
    try:
        sweep(path.parent)
        write_whole(path, lambda file: _write(file, batches))
    except OSError as error:
        if not _is_of_the_cache(error):
            raise
        _say_unusable(str(cache_folder()), error.strerror or str(error))
        sink = pa.BufferOutputStream()
        _write(sink, batches)
        return _read(sink.getvalue(), None)
    found = _opened(path)
    assert found is not None
    return found


def _is_of_the_cache(error: OSError) -> bool:
    """Whether the cache is in the way, rather than what is being read."""
    named = "" if error.filename is None else str(error.filename)
    return not isinstance(error, UserError) and (not named or named.startswith(str(cache_folder())))


@cache
def _say_unusable(folder: str, why: str) -> None:
    print(
        f"data: the cache {folder} cannot be written ({why}), so data stays in memory, and what would be kept is "
        f"made again at the next start. Another place for it: ZOO_CACHE",
        flush=True,
    )


def _write(file: Any, batches: Batches) -> None:
    def content(hashed: Any) -> None:
        facts: dict[str, Any] = {}
        writer = None
        for batch in batches(facts):
            writer = writer or pa.ipc.new_stream(hashed, batch.schema)
            writer.write_batch(batch)
        assert writer is not None
        writer.close()
        said = json.dumps(facts).encode()
        hashed.write(said + len(said).to_bytes(_LENGTH_BYTES, "little"))

    checksums.write(file, content)


def _opened(path: Path) -> "Table | None":
    """The table in the file; None if there is none, or not as it was written."""
    try:
        return None if checksums.damage(path) else _again(path)
    except OSError:
        return None


def _read(content: pa.Buffer, path: Path | None) -> "Table":
    data = pa.ipc.open_stream(content).read_all()
    end = len(content) - checksums.BYTES - _LENGTH_BYTES
    length = int.from_bytes(content[end : end + _LENGTH_BYTES].to_pybytes(), "little")
    return Table(data, json.loads(content[end - length : end].to_pybytes()), path)


class Table(Sequence):
    """Rows as dictionaries, memory-mapped: lists of numbers are arrays of any number of dimensions.

    Args:
        data: what Arrow has.
        facts: what was written beside the rows.
        path: of its file, which other processes map themselves; None for one in memory.
    """

    def __init__(self, data: pa.Table, facts: dict[str, Any], path: Path | None = None):
        self.data, self.facts, self.path = data, facts, path

    def __len__(self) -> int:
        return self.data.num_rows

    def column(self, name: str) -> pa.ChunkedArray:
        return self.data.column(name)

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        row = {name: _value(self.data.column(name)[int(index)]) for name in self.data.column_names}
        shapes = [name for name in row if name.endswith(_SHAPE)]
        for name in shapes:
            inside = name.removesuffix(_SHAPE)
            row[inside] = row[inside].reshape(row.pop(name))
        return row

    def __reduce__(self) -> tuple[Any, ...]:
        return (Table, (self.data, self.facts)) if self.path is None else (_again, (self.path,))


def _again(path: Path) -> Table:
    with pa.memory_map(str(path)) as file:
        return _read(file.read_buffer(), path)


def _value(scalar: Any) -> Any:
    is_list = pa.types.is_list(scalar.type) or pa.types.is_large_list(scalar.type)
    if is_list and pa.types.is_primitive(scalar.type.value_type) and scalar.values is not None:
        return scalar.values.to_numpy(zero_copy_only=False)
    return scalar.as_py()


def rows(items: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """Items as rows of a table: an array of several dimensions is its numbers in a row, and its shape."""
    columns: dict[str, Any] = {}
    for name in items[0]:
        values = [item[name] for item in items]
        columns[name], shapes = _column(values)
        if shapes is not None:
            columns[name + _SHAPE] = shapes
    return pa.record_batch(columns)


def _column(values: list[Any]) -> tuple[pa.Array, pa.Array | None]:
    if not all(isinstance(value, np.ndarray) for value in values):
        return pa.array(values), None
    bounds = np.cumsum([0, *(value.size for value in values)], dtype=np.int64)
    flat = pa.LargeListArray.from_arrays(bounds, np.concatenate([value.reshape(-1) for value in values]))
    if all(value.ndim == 1 for value in values):
        return flat, None
    return flat, pa.array([value.shape for value in values], pa.list_(pa.int32()))


# Small facts ----------------------------------------------------------------------------------------------------


def recall(kind: str, name: str) -> Any:
    """What was noted under this name; None if there is nothing, or nothing that can be read."""
    try:
        seal, _, said = (cache_folder() / kind / f"{name}.json").read_text("utf-8").partition("\n")
        return json.loads(said) if seal == xxhash.xxh3_128(said.encode()).hexdigest() else None
    except (OSError, ValueError):
        return None


def note(kind: str, name: str, what: Any) -> None:
    """Keep something small, where that is possible."""
    said = json.dumps(what)
    content = f"{xxhash.xxh3_128(said.encode()).hexdigest()}\n{said}".encode()
    path = cache_folder() / kind / f"{name}.json"
    try:
        sweep(path.parent)
        write_whole(path, lambda file: file.write(content))
    except OSError as error:
        _say_unusable(str(cache_folder()), error.strerror or str(error))
