"""Where images come from: folders, tables, hub data sets, MNIST's and CIFAR's files, what Python packages carry.

`rows` reads what has rows, as every modality does; `arrays` what only images are kept in, all splits at once.
"""

import glob
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from zoo.data import image_arrays
from zoo.data.image_arrays import Splits
from zoo.errors import DataError
from zoo.files import cache, endings, forms, sources
from zoo.files.forms import Form, Found
from zoo.files.paths import follow
from zoo.files.sources import NAMES, Columns, Wanted
from zoo.files.tables import Reading
from zoo.images.reading import SUFFIXES
from zoo.samples import ImageSample, Split

_PATHS = pa.schema([("path", pa.large_string())])
_INSIDE = pa.schema([("image", forms.MEDIUM)])
_LABEL = pa.field("label", pa.large_string())
_ENDINGS = (*SUFFIXES, ".npz")
_IMAGE_COLUMNS = ("image", "path", "file_name", "file", "filename", "img")
_LABEL_COLUMNS = ("label", "labels", "class", "fine_label", "target")


# Tables and the hub ---------------------------------------------------------------------------------------------


def rows(
    source: str,
    split: Split,
    reading: Reading | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    subset: str | None = None,
) -> Found | None:
    """The samples of a table, a list of paths (.txt) or a hub data set; None where it has other splits.

    Args:
        image_column: None for the one that is called image, or path … Or where the images are, with columns in braces.
        label_column: None for the one that is called label, or class …
        subset: of a hub data set (its "config").

    Raises:
        MissingInputError: there is no such file, folder or data set.
        DataError: it has no images, or cannot be read.
    """
    wanted = _wanted(reading or Reading(), image_column, label_column, subset)
    found = sources.read(source, split, wanted)
    return None if found is None else replace(found, samples=_samples(found, f"{source} ({split})"))


def _wanted(reading: Reading, image_column: str | None, label_column: str | None, subset: str | None = None) -> Wanted:
    how = replace(reading, documents="lines")
    return Wanted(lambda found: _form(found, image_column, label_column), "images", how, subset, None, _ENDINGS)


def look(path: Path, settings: Mapping[str, Any]) -> None:
    """What `ImageData` with these settings would refuse of a table, without torch: see `sources.look`."""
    columns = settings.get("image_column"), settings.get("label_column")
    found = sources.look(path, _wanted(sources.reading_of(settings, "lines"), *columns))
    sources.refuse_nowhere(path, [sample.image for sample in _samples(found, "")] if found else [], "images")


def _form(columns: Columns | None, image_column: str | None, label_column: str | None) -> Form | str:
    if columns is None:
        return Form("images", ("text",), _PATHS, lambda row: tuple(filter(None, [row["text"].strip()])), ImageSample)
    parts = forms.in_braces(image_column)
    named: dict[str, list[Any]] = {"label_column": [label_column], "image_column": parts or [image_column]}
    for setting, name in ((setting, name) for setting, names in named.items() for name in names):
        if name is not None and name not in columns:
            return f"has no column '{name}' (columns: {', '.join(columns)}). Set data.{setting} to one of them."
    image = image_column or next((name for name in _IMAGE_COLUMNS if name in columns), None)
    label = label_column or next((name for name in _LABEL_COLUMNS if name in columns), None)
    if image is None:
        return (
            f"has no column with an image (columns: {', '.join(columns)}; expected one of {', '.join(_IMAGE_COLUMNS)})"
            f". Set data.image_column to the one that holds it."
        )
    kind = None if parts else columns[image]
    is_inside = forms.is_medium(kind)
    stored = _INSIDE if is_inside else _PATHS

    def take(row: dict[str, Any]) -> tuple[Any, ...]:
        if is_inside:
            picture: Any = forms.media(row, image)
        else:
            picture = forms.filled(row, image) if parts else forms.path_in(row, image)
        if picture is None:
            return ()
        return (picture,) if label is None else (picture, forms.class_name(row, label))

    columns_ = (*(parts or [image]), *([] if label is None else [label]))
    name = f"images at {image}" if parts else "images"
    whole = stored if label is None else stored.append(_LABEL)
    return Form(name, columns_, whole, take, ImageSample, plain=not parts)


def _samples(found: Found, name: str) -> list[ImageSample]:
    form, columns = found.samples.form, found.samples.columns
    rows = range(len(columns[0])) if found.samples.indices is None else found.samples.indices.tolist()
    labels = columns[1].to_pylist() if len(columns) > 1 else [None] * len(columns[0])
    if form.stored.names[0] == "path":
        paths, files = columns[0].to_pylist(), np.repeat(np.arange(len(found.counts)), found.counts).tolist()
        folders = [path.parent for path in found.files]
        return [ImageSample(folders[files[i]] / paths[i] if files else Path(paths[i]), labels[i]) for i in rows]
    column = "image" if isinstance(found.table, cache.Table) else form.columns[0]
    return [ImageSample(forms.Cell(found.table, column, i), labels[i], f"{name}#{i}") for i in rows]


# Folders and files ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arrays:
    """The samples of all splits of a source, and what was concluded about it."""

    splits: Splits
    notes: list[str]


def arrays(source: str) -> Arrays | None:
    """The samples of what is no table, by split; a source without splits is all "train". None if it is a table.

    Raises:
        MissingInputError: there is no such file in it.
        DataError: it has no images, or is not what it looks like.
    """
    notes: list[str] = []
    path = follow(source)
    if source.startswith("python:"):
        return Arrays(image_arrays.python_data(source.removeprefix("python:")), notes)
    if path.is_dir():
        splits = _directory(path, notes)
        return Arrays(splits, notes) if splits else None
    if path.suffix == ".npz" and path.exists():
        return Arrays(image_arrays.npz(sources.regular(path)), notes)
    if path.suffix.lower() in SUFFIXES and path.exists():
        return Arrays({"train": [ImageSample(path)]}, notes)
    if glob.has_magic(source) and path.suffix.lower() in SUFFIXES:
        return Arrays({"train": [ImageSample(one) for one in sources.matching(source, notes)]}, notes)
    return None


def _directory(folder: Path, notes: list[str]) -> Splits:
    """Empty if there are only tables in it."""
    if image_arrays.idx_files(folder):
        return image_arrays.idx(folder)
    if (folder / "batches.meta").is_file() or (folder / "meta").is_file():
        return image_arrays.cifar_batches(folder)
    inner = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    named = {NAMES[entry.name.lower()]: entry for entry in inner if entry.name.lower() in NAMES}
    parts: dict[Split, Path] = named if "train" in named else {"train": folder}
    found = {split: sources.walk(part, notes) for split, part in parts.items()}
    splits = {split: _class_folders(parts[split], paths) for split, paths in found.items()}
    if all(splits.values()):
        return splits
    if archives := sorted(folder.glob("*.npz")):
        return image_arrays.npz(sources.regular(archives[0]))
    if not any(splits.values()) and any(_is_table(path) for paths in found.values() for path in paths):
        return {}
    empty = next(parts[split] for split, samples in splits.items() if not samples)
    raise DataError(
        f"{empty} has no images in it ({', '.join(sorted(SUFFIXES))}). Expected a folder per class, or "
        f"train/, val/ and test/ with a folder per class in each."
    )


def _is_table(path: Path) -> bool:
    return endings.kind(path) in endings.KINDS and endings.kind(path) != ".txt"


def _class_folders(folder: Path, paths: list[Path]) -> list[ImageSample]:
    """Images in a folder per class, at any depth below; images without such a folder have no label."""
    depth = len(folder.parts)
    return [
        ImageSample(path, path.parts[depth] if len(path.parts) > depth + 1 else None)
        for path in paths
        if path.suffix.lower() in SUFFIXES
    ]


# Headers --------------------------------------------------------------------------------------------------------


def check_headers(samples: list[ImageSample], name: str, header: Callable[[Path], str | None]) -> dict[int, str]:
    """What is wrong with files, by index, as far as their first bytes show. In parallel, and once for each file.

    Args:
        name: under which the cache remembers the good ones, by path, size and time of change.
    """
    paths = {i: Path(sample.image) for i, sample in enumerate(samples) if isinstance(sample.image, (str, Path))}
    known = set(cache.recall("headers", name) or ())
    with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:
        keys = dict(zip(paths, pool.map(_file_key, paths.values()), strict=True))
        new = [i for i in paths if keys[i] not in known]
        reasons = dict(zip(new, pool.map(lambda i: header(paths[i]), new), strict=True))
    if new:
        cache.note("headers", name, [key for i, key in keys.items() if reasons.get(i) is None])
    return {i: reason for i, reason in reasons.items() if reason is not None}


def _file_key(path: Path) -> str:
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a name with NUL
        return ""
    return f"{path} {status.st_size} {status.st_mtime_ns}"
