"""Where texts come from: files, folders and globs of them, data sets of the hub, what every Python carries.

`read` finds what a source names and what its rows are; `text_files` reads them, `text_tables` keeps them.
"""

import glob
import importlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from zoo import hub, trust
from zoo.data import text_files, text_forms, text_tables
from zoo.data.text_files import KINDS, Reading
from zoo.data.text_tables import Samples
from zoo.errors import DataError, MissingInputError
from zoo.paths import follow, nearest_file
from zoo.samples import Split, TextSample

_NAMES: dict[str, Split] = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
_NAMES |= {"validation": "validation", "dev": "validation", "test": "test"}
_HUB_SPLITS = {"train": ("train",), "validation": ("validation", "valid", "dev"), "test": ("test",)}
_SHOWN = 3


@dataclass(frozen=True)
class Wanted:
    """What is taken of a source.

    Args:
        subset: of a hub data set (its "config").
        text_column: None to find what the rows are by their columns.
        joined: all rows of a table are one document.
        join: what stands between them.
        limit: the first so many documents; None for all.
        prompts: the rows are to be continued.
    """

    reading: Reading
    subset: str | None = None
    text_column: str | None = None
    joined: bool = False
    join: str = "\n"
    limit: int | None = None
    prompts: bool = False


def read(source: str, split: Split, wanted: Wanted) -> Samples | None:
    """The samples of a source for the split, in a fixed order; None where it has other splits, but not this one.

    A source without splits (a file, say) is training data.

    Raises:
        MissingInputError: there is no such file, folder or data set.
        DataError: it cannot be read, or has no text in it.
    """
    if source.startswith("python:"):
        found = Samples.of_texts(_python_texts(source.removeprefix("python:"))) if split == "train" else None
    elif is_hub(source):
        found = _hub(source, split, wanted)
    else:
        paths = _files(source, split)
        found = _read_files(source, paths, wanted) if paths else None
    if found is not None and not len(found):
        raise DataError(f"{source} has no text in it.")
    return found


def is_hub(source: str) -> bool:
    """A name or owner/name, perhaps with :split, that is no file here and has no file's ending."""
    name, path = source.partition(":")[0], follow(source)
    bare = name.count("/") <= 1 and not source.startswith((".", "/", "~", "python:")) and not glob.has_magic(source)
    return bare and text_files.kind(path) not in KINDS and not path.exists()


def names_split(source: str) -> bool:
    return ":" in source and is_hub(source)


# Files ----------------------------------------------------------------------------------------------------------


def _files(source: str, split: Split) -> list[Path]:
    """The files of the split, sorted, all of one kind."""
    path = follow(source)
    if path.is_dir():
        return _in_folder(source, path, split)
    if split != "train":
        return []
    if path.is_file():
        found = [path]
    elif glob.has_magic(source):
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())
        if not found:
            raise MissingInputError(f"{source} matches no file.")
    else:
        raise MissingInputError(f"{source}: no such file{nearest_file(path)}.")
    for one in found:
        if text_files.kind(one) not in KINDS:
            raise DataError(f"{one} is not one of {', '.join(KINDS)} (or these with .gz or .zst).")
    return _of_one_kind(source, found)


def _in_folder(source: str, folder: Path, split: Split) -> list[Path]:
    """All files at any depth, or those of the split where every name says which it is of: train.jsonl, test/a.txt."""
    inside = {path: path.relative_to(folder).parts for path in sorted(folder.rglob("*")) if path.is_file()}
    hidden = {path for path, parts in inside.items() if any(part.startswith(".") for part in parts)}
    found = [path for path in inside if path not in hidden and text_files.kind(path) in KINDS]
    if not found:
        raise DataError(f"{source} has no files of text in it ({', '.join(KINDS)}).")
    splits = {path: _NAMES.get(re.split(r"[-_.]", inside[path][0].lower())[0]) for path in found}
    if None in splits.values() or "train" not in splits.values():
        return _of_one_kind(source, found) if split == "train" else []
    return _of_one_kind(source, [path for path in found if splits[path] == split])


def _of_one_kind(source: str, paths: list[Path]) -> list[Path]:
    kinds = Counter(text_files.kind(path) for path in paths)
    if len(kinds) > 1:
        counts = " and ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        most = kinds.most_common(1)[0][0]
        where = f"{source.rstrip('/')}/**/*{most}" if follow(source).is_dir() else f"*{most}"
        raise DataError(f"{source} has files of several kinds ({counts}). Name one of them: {where}")
    return paths


def _read_files(source: str, paths: list[Path], wanted: Wanted) -> Samples:
    first, how = paths[0], wanted.reading
    is_text = text_files.kind(first) == ".txt"
    if is_text:
        form = text_forms.text("text")
    else:
        columns = text_files.columns(first, how)
        found = text_forms.find(columns, wanted.text_column, wanted.prompts)
        if found is None:
            if not columns:
                raise DataError(f"{first} has no text in it.")
            raise DataError(_wrong_columns(str(first), columns, wanted))
        form = found
    join = wanted.joined and not is_text

    def parts(notes: list[str]) -> Iterator[text_tables.Part]:
        for path in paths:
            rows = text_files.rows(path, how, notes, form.columns)
            part = f"{path} {text_files.unit(path)}", rows
            yield text_tables.joined(part, form.columns[0], wanted.join) if join else part

    def texts(notes: list[str]) -> Iterator[pa.Array]:
        for path in paths:
            yield from text_files.texts(path, how, notes, form.columns[0])

    about = ["files 1", form.name, form.columns, how, join, wanted.join if join else "", wanted.limit, len(paths)]
    key = text_tables.key([*about, text_files.kind(first)], paths)
    samples = text_tables.stored(
        key, form, parts, wanted.limit, texts if form.make is TextSample and not join else None
    )
    count = f"{len(paths):,} files"
    return samples.of(replace(samples.facts, notes=([count] if len(paths) > 1 else []) + _merged(samples.facts.notes)))


def _wrong_columns(source: str, columns: list[str], wanted: Wanted) -> str:
    if separator := text_files.other_separator(columns):
        return f"{source} has one column {columns[0]!r}; {text_files.looks_separated(separator)}"
    shown = ", ".join(columns)
    if wanted.text_column is not None:
        return f"{source} has no column '{wanted.text_column}' (columns: {shown}). Set data.text_column to one of them."
    return (
        f"{source} has no column 'text' (columns: {shown}), nor those of prompts or conversations. "
        f"Set data.text_column to the one that holds the text."
    )


def _merged(notes: Sequence[str]) -> list[str]:
    more = [f"{len(notes) - _SHOWN:,} more files in other encodings"] if len(notes) > _SHOWN else []
    return [*notes[:_SHOWN], *more]


# The hub --------------------------------------------------------------------------------------------------------


def _hub(source: str, split: Split, wanted: Wanted) -> Samples | None:
    name, _, asked = source.partition(":")
    if wanted.limit is not None:
        return _first_of_hub(name, asked, split, wanted)
    found = hub.load_dataset(name, wanted.subset)
    chosen = _hub_split(name, asked, split, list(found))
    if chosen is None:
        return None
    table: datasets.Dataset = found[chosen]
    form = _hub_form(f"{name} ({chosen})", table.column_names, wanted)
    is_text = form.stored == ("text",) and table.features[form.columns[0]].dtype in ("string", "large_string")
    if is_text and not wanted.joined:
        return text_tables.of_column(form, table.data.column(form.columns[0]))
    rows = enumerate(table.select_columns(list(form.columns)), 1)
    key = text_tables.key(["hub 1", name, table._fingerprint, form.name, form.columns, wanted.joined, wanted.join])
    return _stored_rows(f"{name} ({chosen}) row", rows, form, key, wanted)


def _stored_rows(
    where: str, rows: Iterable[text_files.Row], form: text_forms.Form, key: str, wanted: Wanted
) -> Samples:
    part = text_tables.joined((where, rows), form.columns[0], wanted.join) if wanted.joined else (where, rows)
    return text_tables.stored(key, form, lambda notes: [part], wanted.limit)


def _hub_form(where: str, columns: list[str], wanted: Wanted) -> text_forms.Form:
    form = text_forms.find(columns, wanted.text_column, wanted.prompts)
    if form is None:
        raise DataError(_wrong_columns(where, columns, wanted))
    return form


def _hub_split(name: str, asked: str, split: Split, names: list[str]) -> str | None:
    """Which of the data set's splits is meant: the one named behind the colon (as training data), or by its name."""
    if asked and asked not in names:
        raise MissingInputError(f"{name} has no split '{asked}' (splits: {', '.join(names)}).")
    if asked and split == "train":
        return asked
    found = next((one for one in _HUB_SPLITS[split] if one in names and one != asked), None)
    if found is None and split == "train":
        raise MissingInputError(
            f"{name} has no split 'train' (splits: {', '.join(names)}). Name one: {name}:{names[0]}"
        )
    return found


def _first_of_hub(name: str, asked: str, split: Split, wanted: Wanted) -> Samples | None:
    """The first documents of a split, read over the network once and kept."""
    about = [name, wanted.subset, wanted.text_column]
    names = text_tables.remembered(text_tables.key(["splits", *about[:2]]), lambda: list(_stream(name, wanted)))
    chosen = _hub_split(name, asked, split, names)
    if chosen is None:
        return None
    key = text_tables.key(["stream 1", *about, chosen, wanted.limit, wanted.joined, wanted.join])
    columns = text_tables.remembered(
        text_tables.key(["columns", *about[:2], chosen]),
        lambda: list(next(iter(_stream(name, wanted)[chosen]), {})),
    )
    form = _hub_form(f"{name} ({chosen})", columns, wanted)

    def parts(notes: list[str]) -> Iterator[text_tables.Part]:
        stream = _stream(name, wanted)[chosen]
        part = f"{name} ({chosen}) row", enumerate(stream.take(wanted.limit) if wanted.joined else stream, 1)
        yield text_tables.joined(part, form.columns[0], wanted.join) if wanted.joined else part

    samples = text_tables.stored(key, form, parts, wanted.limit)
    return samples.of(replace(samples.facts, notes=[f"the first {wanted.limit:,}, kept in the cache"]))


def _stream(name: str, wanted: Wanted) -> Any:
    return hub.stream_dataset(name, wanted.subset)


# What every Python carries --------------------------------------------------------------------------------------


def _python_texts(module: str) -> list[str]:
    trust.check_source(module, "pydoc_data.topics")
    try:
        topics = importlib.import_module(module).topics
    except (ImportError, AttributeError) as error:
        raise MissingInputError(f"python:{module}: no such texts in this Python ({error}).") from error
    return _without_repeats([topics[name] for name in sorted(topics)])


def _without_repeats(texts: list[str]) -> list[str]:
    """The texts whose lines are not nearly all in longer ones too, in their order.

    A third of the manual's topics are sections of others: held out, they would only ask what was learnt by heart.
    """
    seen: set[str] = set()
    kept = set()
    for i in sorted(range(len(texts)), key=lambda i: -len(texts[i])):
        lines = {line.strip() for line in texts[i].splitlines()}
        if len(lines - seen) > 0.1 * len(lines):
            kept.add(i)
            seen |= lines
    return [texts[i] for i in sorted(kept)]
