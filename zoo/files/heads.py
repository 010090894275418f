"""The beginning of a file of text or rows: what can be said of it within milliseconds, however large it is."""

import codecs
import csv
import io
import json
import math
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import DataError
from zoo.files import encodings, separated
from zoo.files.endings import PACKED

BYTES = 1 << 20
"""Read of each file."""
ROWS = 300
"""Looked at of each table."""
_SEPARATORS = ",;\t|"
_LINES = 50


@dataclass(frozen=True)
class Head:
    """The beginning of a text.

    Args:
        encoding: of Python's codec.
        whole: whether this is all of it.
        characters: of the whole file; reckoned by its size where only the beginning was read.
    """

    text: str
    encoding: str
    whole: bool
    characters: int


@dataclass(frozen=True)
class Rows:
    """The beginning of a table.

    Args:
        rows: the first ones.
        count: of all rows; reckoned by the file's size where it was not read to its end.
        whole: whether it was.
        separator: of a .csv or .tsv.
    """

    columns: list[str]
    rows: list[dict[str, Any]]
    count: int
    whole: bool
    separator: str = ""
    encoding: str = "utf-8"

    def values(self, column: str) -> list[Any]:
        """What stands in a column, without what is empty."""
        return [value for row in self.rows if (value := row.get(column)) not in (None, "")]


def text(path: Path, most: int = BYTES) -> Head:
    """The first bytes of a file as text.

    Raises:
        DataError: it cannot be read, or is no text.
    """
    try:
        with encodings.open_bytes(path) as file:
            data = file.read(most + 1)
        size = path.stat().st_size
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    whole, data = len(data) <= most, data[:most]
    name = encodings.of_head(path, data)
    if b"\0" in data and not name.startswith("utf"):
        raise DataError(f"{path} is no text.")
    found = codecs.getincrementaldecoder(name)("replace").decode(data, whole)
    packed = path.suffix.lower() in PACKED
    characters = len(found) if whole or packed else round(size * len(found) / len(data))
    return Head(found.removeprefix("\ufeff"), name, whole, characters)


def table(path: Path, suffix: str, separator: str | None = None) -> Rows:
    """The first rows of a table.

    Args:
        suffix: which kind of table: .csv, .tsv, .jsonl, .json, .parquet.
        separator: None to find it.

    Raises:
        DataError: it cannot be read as that kind; the line is named where there is one.
    """
    if suffix == ".parquet":
        return _parquet(path)
    head = text(path)
    if not head.text.strip():
        raise DataError(f"{path} is empty.")
    reader = _separated if suffix in (".csv", ".tsv") else _json
    columns, rows, count, used = reader(path, head, suffix if reader is _json else separator)
    if not head.whole and rows:
        count = math.ceil(count * head.characters / max(1, used))
    kept = rows[:ROWS]
    return Rows(columns, kept, count, head.whole, _separator_of(head, separator) if reader is _separated else "",
                head.encoding)  # fmt: skip


# Separated ------------------------------------------------------------------------------------------------------


def _separator_of(head: Head, asked: str | None) -> str:
    """The one that divides the header, and most lines alike."""
    if asked:
        return asked
    lines = [line for line in head.text[:BYTES].splitlines()[:_LINES] if line.strip()]
    if not lines:
        return ","

    def rank(separator: str) -> tuple[float, int]:
        counts = [len(fields) for fields in csv.reader(lines, delimiter=separator)]
        alike = sum(number == counts[0] for number in counts) / len(counts)
        return (alike if counts[0] > 1 else 0.0), counts[0]

    return max(_SEPARATORS, key=rank)


def _separated(path: Path, head: Head, separator: str | None) -> tuple[list[str], list[dict[str, Any]], int, int]:
    """Columns, rows, how many there were, in how many characters."""
    csv.field_size_limit(2 * BYTES)
    body = head.text if head.whole else head.text[: head.text.rfind("\n") + 1]
    stream = io.StringIO(body, newline="")
    lines = separated.reader(stream, _separator_of(head, separator), body.partition("\n")[0])
    header: list[str] = []
    rows: list[dict[str, Any]] = []
    number, begin = 0, 1
    try:
        header = next(lines, [])
        begin = lines.line_num + 1
        for fields in lines:
            if len(fields) > len(header):
                raise DataError(
                    f"{path} line {begin} has {len(fields)} fields, the header {len(header)}. A text with the "
                    f"separator in it stands in quotes."
                )
            number += bool(fields)
            if fields and len(rows) < ROWS:
                rows.append(dict(zip(header, fields, strict=False)))
            begin = lines.line_num + 1
    except csv.Error as error:
        if head.whole or "unexpected end" not in str(error):
            said = "a quote opens there and never closes" if "unexpected end" in str(error) else str(error)
            raise DataError(f"{path} line {begin}: {said}.") from error
    return header, rows, number, len(body)


# JSON -----------------------------------------------------------------------------------------------------------


def _json(path: Path, head: Head, suffix: str | None) -> tuple[list[str], list[dict[str, Any]], int, int]:
    try:
        found, used = _in_lines(path, head) if suffix == ".jsonl" else _values(path, head)
    except RecursionError as error:
        raise DataError(f"{path} is nested too deeply to be rows of a table.") from error
    rows = [{"text": value} if isinstance(value, str) else value for value in found]
    if wrong := next((row for row in rows if not isinstance(row, dict)), None):
        raise DataError(f"{path} holds {json.dumps(wrong)[:40]}, which is no row; expected objects with named values.")
    columns = list({name: None for row in rows[:ROWS] for name in row})
    return columns, rows, len(rows), used


def _values(path: Path, head: Head) -> tuple[list[Any], int]:
    """Those of a list, of lines, or of the one list in an object; and how many characters they take."""
    begin = len(head.text) - len(head.text.lstrip())
    if head.text[begin] == "[":
        return _listed(path, head, begin + 1)
    inner = _list_in_object(head, begin)
    if inner is None:
        return _in_lines(path, head)
    return _listed(path, head, inner) if inner >= 0 else ([json.loads(head.text)], len(head.text))


def _in_lines(path: Path, head: Head) -> tuple[list[Any], int]:
    body = head.text if head.whole else head.text[: head.text.rfind("\n") + 1]
    found = []
    for number, line in enumerate(body.split("\n"), 1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except ValueError as error:
                raise DataError(f"{path} line {number} is no JSON: {error}.") from error
    if not found:
        raise DataError(f"{path}: its first row is longer than {BYTES:,} characters.")
    return found, len(body)


def _list_in_object(head: Head, begin: int) -> int | None:
    """Where the one list in an object begins; -1 for an object that is a row itself; None for anything else."""
    if head.whole:
        try:
            found = json.loads(head.text)
        except ValueError:
            return None
        lists = [value for value in found.values() if isinstance(value, list)] if isinstance(found, dict) else []
        if not (len(lists) == len(found) == 1 and all(isinstance(row, dict) for row in lists[0])):
            return -1
    start = re.compile(r'\{\s*"[^"]{0,200}"\s*:\s*\[\s*\{').match(head.text, begin)
    return start.end() - 1 if start else None


def _listed(path: Path, head: Head, at: int) -> tuple[list[Any], int]:
    decoder = json.JSONDecoder()
    found: list[Any] = []
    skipped = " \t\r\n,"
    while True:
        while at < len(head.text) and head.text[at] in skipped:
            at += 1
        if at >= len(head.text) or head.text[at] == "]":
            return found, at
        try:
            value, at = decoder.raw_decode(head.text, at)
        except ValueError as error:
            if not head.whole:
                return found, at
            line = head.text.count("\n", 0, at) + 1
            raise DataError(f"{path} line {line} is no JSON: {error}.") from error
        found.append(value)


# Parquet --------------------------------------------------------------------------------------------------------


def _parquet(path: Path) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            first = next(file.iter_batches(ROWS), None)
            rows = first.to_pylist() if first is not None else []
            return Rows(list(file.schema_arrow.names), rows, file.metadata.num_rows, True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is no parquet file, or is damaged: {str(error).splitlines()[0]}") from error


# Columns --------------------------------------------------------------------------------------------------------


def kind_of(values: list[Any]) -> str:
    """What a column holds, by some of its values.

    One of number, text, word (short: a name, a category), list, object, JSON (one of these as text), bytes, nothing.
    """
    if not values:
        return "nothing"
    for types, name in ((list, "list"), (dict, "object"), (bytes, "bytes"), ((bool, int, float), "number")):
        if all(isinstance(value, types) for value in values):
            return name
    words = [str(value).strip() for value in values]
    if all(_is_number(word) for word in words):
        return "number"
    if all(word.startswith(("[{", "{")) and word.endswith(("}]", "}")) for word in words):
        return "JSON"
    letters = sum(is_letter(c) for word in words for c in word) / max(1, sum(map(len, words)))
    long = sum(_length(word) for word in words) / len(words)
    return "text" if long >= 3 and letters > 0.5 and len(set(words)) > 0.3 * len(words) else "word"


def is_letter(character: str) -> bool:
    """Whether it is a letter or a mark at one, as the vowels of Devanagari are."""
    return character.isalpha() or unicodedata.category(character)[0] == "M"


def _is_number(word: str) -> bool:
    try:
        float(word.replace(",", ".", 1))
    except ValueError:
        return word.lower() in ("na", "nan", "true", "false", "null", "none")
    return True


def _length(word: str) -> float:
    """In words; scripts without spaces have about two characters to a word."""
    dense = sum(c >= "\u0e00" and c.isalpha() and not "\u0f00" <= c < "\u3040" for c in word)
    return len(word.split()) + dense / 2
