"""Rows of a file: of plain text, of a table, of JSON lines. Every mistake is named with its file and line.

`datasets.load_dataset` reads the same files, and was the first choice. Version 5.2 takes "007" in a CSV for the number
7, turns the text "1" into a number where another row of a .jsonl has one, fails where a later row has a key that the
first do not have, does not see that lines have more fields than the header, names no line, and keeps what it read and
unpacked by the file's name and time, not by its content.
"""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.json as paj
import pyarrow.parquet as pq

from zoo.errors import DataError, UserError
from zoo.files import encodings, separated
from zoo.files.endings import kind

Row = tuple[int, dict[str, Any]]
"""Its number, from 1, as the file counts, and what it holds."""
_FIRST = 100
_ROWS = 10_000
_BLOCK = 1 << 24
_WHOLE = 1 << 32
"""Bytes of a file that are read in one piece, at most."""
_SEPARATORS = (";", "\t", ",", "|")
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # 128 KiB by default: a long document is more


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Args:
        separator: of a .csv or .tsv; None for a comma or a tab.
        encoding: None to detect it.
        documents: what a document of a .txt is: file, lines, or blank for what stands between blank lines.
    """

    separator: str | None = None
    encoding: str | None = None
    documents: str = "file"


def unit(path: Path) -> str:
    """What the number of a row counts."""
    return "line" if kind(path) in (".txt", ".csv", ".tsv", ".jsonl") else "row"


def columns(path: Path, how: Reading) -> dict[str, pa.DataType | None]:
    """The columns of a file, as far as its first rows show, with their types if the file knows them."""
    if kind(path) == ".parquet":
        with _opened_parquet(path) as file:
            classes = class_names(file.schema_arrow)
            return {one.name: pa.string() if one.name in classes else one.type for one in file.schema_arrow}
    return {name: None for _, row in islice(rows(path, how, []), _FIRST) for name in row}


def rows(path: Path, how: Reading, notes: list[str], only: Sequence[str] | None = None) -> Iterator[Row]:
    """The rows of a file, in order.

    Args:
        notes: what was concluded about the file is added.
        only: columns of a .parquet that are wanted.

    Raises:
        DataError: it cannot be read as what its name says.
    """
    if kind(path) == ".parquet":
        yield from _parquet(path, only)
        return
    encoding = encodings.find(path, how.encoding)
    if encoding.note:
        notes.append(encoding.note)
    if encoding.size > _WHOLE and (kind(path) == ".json" or (kind(path) == ".txt" and how.documents == "file")):
        instead = "Set data.documents: lines" if kind(path) == ".txt" else "Make it a .jsonl, with a row in each line"
        raise DataError(f"{path} has {encoding.size / 2**30:.1f} GiB, too much to be read in one piece. {instead}.")
    with encodings.open_bytes(path) as file:
        yield from _READERS[kind(path)](path, file, encoding.name, how)


def _text(path: Path, file: IO[bytes], encoding: str, how: Reading) -> Iterator[Row]:
    lines = io.TextIOWrapper(file, encoding)
    if how.documents == "lines":
        for number, line in enumerate(lines, 1):
            yield number, {"text": line.rstrip("\n")}
    elif how.documents == "blank":
        yield from _paragraphs(lines)
    else:
        yield 1, {"text": lines.read()}


def _paragraphs(lines: IO[str]) -> Iterator[Row]:
    some: list[str] = []
    begin = 1
    for number, line in enumerate(lines, 1):
        if line.strip():
            begin = begin if some else number
            some.append(line)
        elif some:
            yield begin, {"text": "".join(some).rstrip("\n")}
            some = []
    if some:
        yield begin, {"text": "".join(some).rstrip("\n")}


# A column at once -----------------------------------------------------------------------------------------------


class OddRowError(Exception):
    """A row is not as it should be: read them one by one, which says what is wrong, or is more patient."""


def texts(path: Path, how: Reading, notes: list[str], name: str) -> Iterator[pa.Array]:
    """One column of a file, many rows at a time.

    Raises:
        OddRowError: there is something to look at more closely.
    """
    if kind(path) == ".parquet":
        with _opened_parquet(path) as parquet:
            for batch in parquet.iter_batches(columns=[name]):
                yield _as_text(batch.column(0)).fill_null("")
        return
    encoding = encodings.find(path, how.encoding)
    if encoding.note:
        notes.append(encoding.note)
    with encodings.open_bytes(path) as file:
        if kind(path) == ".jsonl" and encoding.name == "utf-8":
            yield from _json_column(file, name)
        elif kind(path) in (".csv", ".tsv"):
            yield from _table_column(_csv(path, io.TextIOWrapper(file, encoding.name, newline=""), how), name)
        elif kind(path) == ".txt" and how.documents == "lines":
            lines = io.TextIOWrapper(file, encoding.name)
            while some := lines.readlines(_BLOCK):
                yield _as_text([line.rstrip("\n") for line in some])
        else:
            raise OddRowError


def _json_column(file: IO[bytes], name: str) -> Iterator[pa.Array]:
    schema = pa.schema([(name, pa.large_string())])
    parsing = paj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    while block := file.read(_BLOCK):
        block += file.readline()
        try:
            reading = paj.ReadOptions(block_size=max(_BLOCK // 8, block.find(b"\n") + 1))
            table = paj.read_json(io.BytesIO(block), reading, parsing)
        except pa.ArrowException as error:
            raise OddRowError from error
        if table.column(name).null_count:  # lacking, or null
            raise OddRowError
        for column in table.column(name).chunks:
            yield _as_text(column)


def _table_column(lines: Any, name: str) -> Iterator[pa.Array]:
    try:
        header: list[str] = next(lines, [])
        wanted = header.index(name)
        while some := list(islice(lines, _ROWS)):
            if any(len(fields) != len(header) for fields in some):
                some = [fields for fields in some if fields]
                if any(len(fields) != len(header) for fields in some):
                    raise OddRowError
            yield _as_text([fields[wanted] for fields in some])
    except (csv.Error, ValueError) as error:
        raise OddRowError from error


def _as_text(column: Any) -> pa.Array:
    try:
        found = column.cast(pa.large_string()) if isinstance(column, pa.Array) else pa.array(column, pa.large_string())
        found.validate(full=True)  # a parquet may say that it has texts, and have other bytes
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise OddRowError from error
    return found


# Tables ---------------------------------------------------------------------------------------------------------


def _table(path: Path, file: IO[bytes], encoding: str, how: Reading) -> Iterator[Row]:
    separator = _separator(path, how)
    lines = _csv(path, io.TextIOWrapper(file, encoding, newline=""), how)
    begin = 1
    try:
        header: list[str] = next(lines, [])
        if how.separator is None and (other := other_separator(header)):
            raise DataError(f"{path} has one column {header[0]!r}; {looks_separated(other)}")
        begin = lines.line_num + 1
        for fields in lines:
            if len(fields) > len(header):
                raise DataError(
                    f"{path} line {begin} has {len(fields)} fields, the header {len(header)}. "
                    f"""A text with '{separator}' in it stands in quotes: "…{separator}…"."""
                )
            if fields:
                yield begin, dict(zip(header, fields, strict=False))
            begin = lines.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path} line {begin}: {_quote_problem(str(error))}") from error


def _quote_problem(said: str) -> str:
    if "unexpected end" in said:
        return "a quote opens there and never closes."
    if "expected after" in said:
        return f"{said}. A quote inside a quoted text is written twice."
    return f"{said}."


def other_separator(columns: list[str]) -> str | None:
    """By what a table with one column seems to be separated."""
    return next((s for s in _SEPARATORS if len(columns) == 1 and s in columns[0]), None)


def _csv(path: Path, text: IO[str], how: Reading) -> Any:
    first = text.readline()
    return separated.reader(chain([first], text) if first else text, _separator(path, how), first)


def _separator(path: Path, how: Reading) -> str:
    return how.separator or ("\t" if kind(path) == ".tsv" else ",")


def looks_separated(separator: str) -> str:
    shown = r'"\t"' if separator == "\t" else repr(separator)
    return f"it looks {shown}-separated. Set data.separator: {shown}."


# JSON -----------------------------------------------------------------------------------------------------------


def _json_lines(path: Path, file: IO[bytes], encoding: str, how: Reading) -> Iterator[Row]:
    for number, line in enumerate(io.TextIOWrapper(file, encoding), 1):
        if not line.isspace():
            try:
                found = _parsed(line)
            except ValueError as error:
                raise DataError(f"{path} line {number} is no JSON: {_json_problem(error)}.") from error
            yield number, _as_row(path, number, found)


def _json(path: Path, file: IO[bytes], encoding: str, how: Reading) -> Iterator[Row]:
    """A list of rows, an object with one such list, or, under this name too, a row in each line."""
    text = io.TextIOWrapper(file, encoding).read()
    try:
        found = _parsed(text)
    except ValueError as error:
        if str(error).startswith("Extra data"):
            yield from _json_lines(path, io.BytesIO(text.encode()), "utf-8", how)
            return
        raise DataError(f"{path} line {getattr(error, 'lineno', 1)} is no JSON: {_json_problem(error)}.") from error
    if isinstance(found, dict):
        lists = [value for value in found.values() if isinstance(value, list)]
        found = (
            lists[0] if len(found) == len(lists) == 1 and all(isinstance(row, dict) for row in lists[0]) else [found]
        )
    if not isinstance(found, list):
        raise DataError(f"{path} holds {_shown(found)}; expected a list of rows, or a row in each line.")
    for number, row in enumerate(found, 1):
        yield number, _as_row(path, number, row)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("brackets in brackets, too deep to be read") from error


def _as_row(path: Path, number: int, found: Any) -> dict[str, Any]:
    if isinstance(found, str):
        return {"text": found}
    if not isinstance(found, dict):
        raise DataError(f'{path} {unit(path)} {number} is {_shown(found)}; expected an object, as {{"text": "…"}}.')
    return found


def _json_problem(error: ValueError) -> str:
    column = getattr(error, "colno", None)
    return f"{getattr(error, 'msg', error)}" + (f" at character {column}" if column else "")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 40 else f"{text[:36]} …"


def _parquet(path: Path, only: Sequence[str] | None) -> Iterator[Row]:
    number = 0
    with _opened_parquet(path) as file:
        classes = class_names(file.schema_arrow)
        for batch in file.iter_batches(1000, columns=only):
            for row in _pylist(path, number, batch):
                number += 1
                for name in classes.keys() & row.keys():
                    row[name] = _class_name(classes[name], row[name])
                yield number, row


def _pylist(path: Path, before: int, batch: pa.RecordBatch) -> list[dict[str, Any]]:
    try:
        return batch.to_pylist()
    except UnicodeDecodeError as error:
        row = before + next(i for i in range(1, len(batch) + 1) if not _is_utf8(batch.slice(i - 1, 1)))
        raise DataError(f"{path} row {row} has a text that is not UTF-8 ({error.reason}).") from error


def _is_utf8(batch: pa.RecordBatch) -> bool:
    try:
        batch.to_pylist()
    except UnicodeDecodeError:
        return False
    return True


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the classes, by column, where `datasets` wrote them beside a table's numbers."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: one["names"] for name, one in features.items() if one.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _class_name(names: list[str], value: Any) -> Any:
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


@contextmanager
def _opened_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (UserError, OddRowError):
        raise
    except Exception as error:  # Arrow raises what it likes: names that are not UTF-8, dates beyond Python's
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"{path} is no parquet file, or is damaged: {why}") from error


_READERS: dict[str, Callable[[Path, IO[bytes], str, Reading], Iterator[Row]]] = {
    ".txt": _text,
    ".csv": _table,
    ".tsv": _table,
    ".jsonl": _json_lines,
    ".json": _json,
}
