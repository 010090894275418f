"""What a source names: files, folders and globs of them, data sets of the hub. The same for every modality.

`read` finds the files or the data set, and what its rows are; `tables` reads them, `forms` keeps them.
"""

import fnmatch
import glob
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from zoo.errors import DataError, MissingInputError
from zoo.files import cache, forms, hub, tables
from zoo.files.endings import KINDS, PACKED, kind, taken
from zoo.files.forms import Form, Found
from zoo.files.paths import exists, follow, nearest_file, printable
from zoo.files.tables import Reading
from zoo.samples import Split

NAMES: dict[str, Split] = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
NAMES |= {"validation": "validation", "dev": "validation", "test": "test"}
_SHOWN = 3
_SMALL = 1 << 20
"""Bytes of a file that is read within a moment."""

Columns = dict[str, pa.DataType | None]
"""Columns of a table, with their types if it knows them."""


@dataclass(frozen=True)
class Wanted:
    """What is taken of a source.

    Args:
        find: the form of rows with these columns, or what is to be said of them: "has no column …". Called with None
            for a .txt, whose rows have a `text`.
        noun: what there is none of in an empty source.
        subset: of a hub data set (its "config").
        limit: the first so many samples; None for all.
        endings: of other files than tables that the modality reads itself: they are no data sets of the hub.
    """

    find: Callable[[Columns | None], Form | str]
    noun: str
    reading: Reading = field(default_factory=Reading)
    subset: str | None = None
    limit: int | None = None
    endings: tuple[str, ...] = ()


def read(source: str, split: Split, wanted: Wanted) -> Found | None:
    """The samples of a source for the split, in a fixed order; None where it has other splits, but not this one.

    A source without splits (a file, say) is training data.

    Raises:
        MissingInputError: there is no such file, folder or data set.
        DataError: it cannot be read, or has nothing in it.
    """
    if is_hub(source, wanted.endings):
        found = _hub(source, split, wanted)
    else:
        notes: list[str] = []
        paths = files(source, split, notes)
        found = read_files(paths, wanted, notes) if paths else None
    if found is not None and not len(found.samples):
        raise DataError(f"{source} has no {wanted.noun} in it.")
    return found


def is_hub(source: str, endings: Sequence[str] = ()) -> bool:
    """A name or owner/name, perhaps with :split, that is no file here and has no file's ending."""
    name, path = source.partition(":")[0], follow(source)
    bare = name.count("/") <= 1 and not source.startswith((".", "/", "~", "python:")) and not glob.has_magic(source)
    return bare and kind(path) not in (*KINDS, *endings) and not os.path.lexists(path)


def names_split(source: str) -> bool:
    return ":" in source and is_hub(source)


# Files ----------------------------------------------------------------------------------------------------------


def files(source: str, split: Split, notes: list[str]) -> list[Path]:
    """The tables or texts of the split, sorted, all of one kind.

    Args:
        notes: what is left out is added.
    """
    path = follow(source)
    if path.is_dir():
        return _in_folder(source, path, split, notes)
    if split != "train":
        return []
    found = matching(source, notes) if glob.has_magic(source) and not path.exists() else [regular(path, source)]
    for one in found:
        if kind(one) not in KINDS:
            raise DataError(f"{one} is not one of {', '.join(KINDS)} (or these with .gz or .zst).")
    return _of_one_kind(source, found)


def regular(path: Path, named: str = "") -> Path:
    """The path, if it is that of a file that ends somewhere.

    Args:
        named: what the user calls it.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is a pipe or a device.
    """
    if not path.exists():
        raise MissingInputError(f"{named or path}: no such file{nearest_file(path)}.")
    if not path.is_file():
        raise DataError(f"{path} is not a regular file (a pipe or a device), so it cannot be read as data.")
    return path


def matching(pattern: str, notes: list[str]) -> list[Path]:
    """The files of a glob, sorted; ** is folders of any depth.

    Raises:
        MissingInputError: there is none.
    """
    parts = Path(pattern).expanduser().parts
    base = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    found = _regular(walk(Path(*parts[:base]), notes, parts[base:]), notes)
    if not found:
        raise MissingInputError(f"{pattern} matches no file.")
    return found


def walk(folder: Path, notes: list[str], pattern: Sequence[str] = ("**",)) -> list[Path]:
    """What is no directory, at any depth, and has a way from the folder that matches, sorted; nothing hidden.

    Every real directory is entered once, by its own name rather than by a link: a link to one that is met anyway, or
    to a folder around, would give files twice, or without end.

    Args:
        notes: such links are added, and folders that may not be read.
        pattern: of each part of the way; ** is any number of them.
    """
    found: list[tuple[str, ...]] = []
    root, entered = os.path.realpath(folder), set()
    waiting, links = deque[tuple[str, ...]]([()]), deque[tuple[str, ...]]()
    while waiting or links:
        way = (waiting or links).popleft()
        at = os.path.join(folder, *way)
        real = os.path.realpath(at)
        if real in entered or (way and os.path.commonpath([real, root]) == real):
            notes.append(f"left out the link {at}, which leads to a folder that is read anyway")
            continue
        entered.add(real)
        try:
            entries = sorted(os.scandir(at), key=lambda entry: entry.name)
        except OSError as error:
            notes.append(f"left out {at} ({error.strerror})")
            continue
        for entry in entries:
            inside = (*way, entry.name)
            is_folder = entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))
            if not is_folder:  # entry.is_dir() fails at a link to itself
                found += [inside] if _matches(inside, pattern) else []
            elif _matches(inside, pattern, partly=True):
                (links if entry.is_symlink() else waiting).append(inside)
    return [folder.joinpath(*way) for way in sorted(found)]


def _matches(way: Sequence[str], pattern: Sequence[str], partly: bool = False) -> bool:
    """Whether the parts of a way fit those of a pattern.

    Args:
        partly: whether more parts could follow that make it fit.
    """
    if not way:
        return partly or all(part == "**" for part in pattern)
    if not pattern:
        return False
    is_hidden = way[0].startswith(".")
    if pattern[0] == "**":
        return _matches(way, pattern[1:], partly) or (not is_hidden and _matches(way[1:], pattern, partly))
    if is_hidden and not pattern[0].startswith("."):
        return False
    return fnmatch.fnmatchcase(way[0], pattern[0]) and _matches(way[1:], pattern[1:], partly)


def _regular(paths: list[Path], notes: list[str]) -> list[Path]:
    """Those of the paths that are files which end somewhere."""
    found = [path for path in paths if path.is_file()]
    notes += [f"left out {path}, which is not a regular file" for path in paths if path not in set(found)]
    return found


def _in_folder(source: str, folder: Path, split: Split, notes: list[str]) -> list[Path]:
    """All files at any depth, or those of the split where every name says which it is of: train.jsonl, test/a.txt."""
    found = _regular(taken(walk(folder, notes)), notes)
    if not found:
        raise DataError(f"{source} has no files to read in it ({', '.join(KINDS)}).")
    splits = {path: split_of(path.relative_to(folder)) for path in found}
    if None in splits.values() or "train" not in splits.values():
        return _of_one_kind(source, found) if split == "train" else []
    return _of_one_kind(source, [path for path in found if splits[path] == split])


def split_of(way: Path) -> Split | None:
    """The split that the first part of a way says: train-00000.parquet, val/a.txt."""
    return NAMES.get(re.split(r"[-_.]", way.parts[0].lower())[0])


def _of_one_kind(source: str, paths: list[Path]) -> list[Path]:
    kinds = Counter(kind(path) for path in paths)
    if len(kinds) > 1:
        counts = " and ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        most = kinds.most_common(1)[0][0]
        where = f"{source.rstrip('/')}/**/*{most}" if follow(source).is_dir() else f"*{most}"
        raise DataError(f"{source} has files of several kinds ({counts}). Name one of them: {where}")
    return paths


def read_files(paths: list[Path], wanted: Wanted, notes: list[str]) -> Found:
    """The samples of files of one kind, in a fixed order.

    Args:
        notes: what was concluded about them already.

    Raises:
        DataError: they cannot be read.
    """
    first, how = paths[0], wanted.reading
    is_text = kind(first) == ".txt"
    columns = None if is_text else tables.columns(first, how)
    if not columns and not is_text:
        raise DataError(f"{first} has no {wanted.noun} in it.")
    form = _form(str(first), columns, wanted)

    def parts(notes: list[str]) -> Iterator[forms.Part]:
        for path in paths:
            yield f"{path} {tables.unit(path)}", tables.rows(path, how, notes, form.columns)

    def texts(notes: list[str]) -> Iterator[Iterator[pa.Array]]:
        for path in paths:
            yield tables.texts(path, how, notes, form.columns[0])

    by_column = form.plain and form.join is None and len(form.columns) == 1
    about = ["files", form.name, form.columns, form.join, form.stored.to_string(), how, wanted.limit, len(paths)]
    name = cache.key([*about, kind(first)], *map(_content, paths))
    found = forms.read(name, form, parts, wanted.limit, texts if by_column else None)
    count = [f"{len(paths):,} files"] if len(paths) > 1 else []
    return replace(found, notes=[*count, *_merged(notes), *_merged(found.notes)], files=paths)


def look(path: Path, wanted: Wanted) -> Found | None:
    """Raise what reading the file would raise, as far as that takes a moment: a small one is read, kept and returned.

    Raises:
        DataError: it cannot be read, or has nothing in it.
    """
    if path.stat().st_size <= _SMALL and path.suffix.lower() not in PACKED:
        if len((found := read_files([path], wanted, [])).samples):
            return found
        raise DataError(f"{path} has no {wanted.noun} in it.")
    if kind(path) != ".txt":
        _form(str(path), tables.columns(path, wanted.reading), wanted)
    return None


def refuse_nowhere(path: Path, named: Sequence[Any], noun: str) -> None:
    """Refuse a table that names files, and none of them is there.

    Args:
        named: what its rows name: paths, or anything else for what lies in the table.
    """
    if named and all(isinstance(one, Path) and not exists(one) for one in named):
        raise DataError(
            f"{path} names {len(named):,} {noun}, and none of them is there: {named[0]}: no such file. A path in a "
            f"table begins in the table's folder."
        )


def reading_of(settings: Mapping[str, Any], documents: str) -> Reading:
    """How a data module with these settings reads its files."""
    separator = settings.get("separator")
    return Reading("\t" if separator == "\\t" else separator, settings.get("encoding"), documents)


def _content(path: Path) -> bytes:
    with open(path, "rb") as file:
        seen = xxhash.xxh3_128()
        while block := file.read(1 << 22):
            seen.update(block)
    return seen.digest()


def _form(where: str, columns: Columns | None, wanted: Wanted) -> Form:
    form = wanted.find(columns)
    if isinstance(form, Form):
        return form
    names = list(columns or ())
    if separator := tables.other_separator(names):
        raise DataError(f"{where} has one column {names[0]!r}; {tables.looks_separated(separator)}")
    raise DataError(printable(f"{where} {form}"))


def _merged(notes: Sequence[str]) -> list[str]:
    more = [f"and {len(notes) - _SHOWN:,} more"] if len(notes) > _SHOWN else []
    return [*notes[:_SHOWN], *more]


# The hub --------------------------------------------------------------------------------------------------------


def _hub(source: str, split: Split, wanted: Wanted) -> Found | None:
    name, _, asked = source.partition(":")
    if wanted.limit is not None:
        return _first_of_hub(name, asked, split, wanted)
    found = hub.load_dataset(name, wanted.subset)
    chosen = _hub_split(name, asked, split, list(found))
    if chosen is None:
        return None
    where, table = f"{name} ({chosen})", hub.Stored(found[chosen])
    form = _form(where, table.types, wanted)
    key = cache.key(["hub", name, table.fingerprint, form.name, form.columns, form.join])

    def parts(notes: list[str]) -> Iterator[forms.Part]:
        yield f"{where} row", enumerate(table.rows(list(form.columns)), 1)

    return forms.as_they_are(form, table) or forms.read(key, form, parts)


def _hub_split(name: str, asked: str, split: Split, names: list[str]) -> str | None:
    """Which of the data set's splits is meant: the one named behind the colon (as training data), or by its name."""
    if asked and asked not in names:
        raise MissingInputError(f"{name} has no split '{asked}' (splits: {', '.join(names)}).")
    if asked and split == "train":
        return asked
    found = next((one for one in names if NAMES.get(one) == split and one != asked), None)
    if found is None and split == "train":
        raise MissingInputError(
            f"{name} has no split 'train' (splits: {', '.join(names)}). Name one: {name}:{names[0]}"
        )
    return found


def _first_of_hub(name: str, asked: str, split: Split, wanted: Wanted) -> Found | None:
    """The first samples of a split, read over the network once and kept."""

    def stream() -> Any:
        return hub.stream_dataset(name, wanted.subset)

    about = ["hub", name, wanted.subset]
    chosen = _hub_split(name, asked, split, _remembered(about, lambda: list(stream())))
    if chosen is None:
        return None
    columns = _remembered([*about, chosen], lambda: list(next(iter(stream()[chosen]), {})))
    where = f"{name} ({chosen})"
    form = _form(where, dict.fromkeys(columns), wanted)

    def parts(notes: list[str]) -> Iterator[forms.Part]:
        rows = stream()[chosen]
        yield f"{where} row", enumerate(rows if form.join is None else rows.take(wanted.limit), 1)

    key = cache.key([*about, chosen, form.name, form.columns, form.join, wanted.limit])
    found = forms.read(key, form, parts, wanted.limit)
    return replace(found, notes=[f"the first {wanted.limit:,}, kept in the cache"])


def _remembered(about: list[Any], find: Callable[[], list[str]]) -> list[str]:
    """A few names, asked for once."""
    name = cache.key(about)
    if (known := cache.recall("names", name)) is None:
        cache.note("names", name, known := find())
    return list(known)
