"""Where pictures come from: folders, tables, hub data sets, MNIST's and CIFAR's files, what Python packages carry.

`rows` reads what has rows, as every modality does; `arrays` what only pictures are kept in, all splits at once.
"""

import glob
import importlib
import math
import os
import pickle
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from zoo.errors import ConfigError, DataError, MissingInputError, UserError
from zoo.files import cache, encodings, endings, forms, sources, trust
from zoo.files.forms import Form, Found, RowError
from zoo.files.paths import follow
from zoo.files.sources import NAMES, Columns, Wanted
from zoo.files.tables import Reading
from zoo.images.reading import SUFFIXES
from zoo.samples import ImageSample, Split

Splits = dict[Split, list[ImageSample]]

_PATHS = pa.schema([("path", pa.large_string())])
_INSIDE = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))])  # as datasets has it
_LABEL = pa.field("label", pa.large_string())
_ENDINGS = (*SUFFIXES, ".npz")
_IMAGE_COLUMNS = ("image", "path", "file_name", "file", "filename", "img")
_LABEL_COLUMNS = ("label", "labels", "class", "fine_label", "target")
_IN_BRACES = re.compile(r"\{([^{}]+)\}")
_LARGEST = 1 << 36
"""Bytes of one array of pictures, at most."""
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


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
        DataError: it has no pictures, or cannot be read.
    """
    how = replace(reading or Reading(), documents="lines")
    wanted = Wanted(lambda found: _form(found, image_column, label_column), "pictures", how, subset, None, _ENDINGS)
    found = sources.read(source, split, wanted)
    return None if found is None else replace(found, samples=_samples(found, f"{source} ({split})"))


def _form(columns: Columns | None, image_column: str | None, label_column: str | None) -> Form | str:
    if columns is None:
        return Form("pictures", ("text",), _PATHS, lambda row: tuple(filter(None, [row["text"].strip()])), ImageSample)
    parts = _IN_BRACES.findall(image_column or "")
    named = {"label_column": [label_column], "image_column": parts or [image_column]}
    for setting, name in ((setting, name) for setting, names in named.items() for name in names):
        if name is not None and name not in columns:
            return f"has no column '{name}' (columns: {', '.join(columns)}). Set data.{setting} to one of them."
    image = image_column or next((name for name in _IMAGE_COLUMNS if name in columns), None)
    label = label_column or next((name for name in _LABEL_COLUMNS if name in columns), None)
    if image is None:
        return (
            f"has no column with a picture (columns: {', '.join(columns)}; expected one of {', '.join(_IMAGE_COLUMNS)})"
            f". Set data.image_column to the one that holds it."
        )
    kind = None if parts else columns[image]
    is_inside = kind is not None and (pa.types.is_struct(kind) or pa.types.is_binary(kind))
    stored = _INSIDE if is_inside else _PATHS

    def take(row: dict[str, Any]) -> tuple[Any, ...]:
        picture = _picture(row, image) if is_inside else _filled(row, image, parts) if parts else _path(row, image)
        if picture is None:
            return ()
        return (picture,) if label is None else (picture, forms.class_name(row, label))

    columns_ = (*(parts or [image]), *([] if label is None else [label]))
    name = f"pictures at {image}" if parts else "pictures"
    whole = stored if label is None else stored.append(_LABEL)
    return Form(name, columns_, whole, take, ImageSample, plain=not parts)


def _filled(row: dict[str, Any], pattern: str, columns: list[str]) -> str | None:
    """The path that a pattern makes of a row: train/{id}.jpg."""
    for name in columns:
        if name not in row:
            raise RowError(f"lacks '{name}' (has {', '.join(repr(name) for name in row) or 'nothing'})")
        if not isinstance(row[name], (str, int, type(None))):
            raise RowError(f"has {str(row[name])[:40]} for '{name}', which is no part of a path")
    values = {name: "" if row[name] is None else str(row[name]).strip() for name in columns}
    return _IN_BRACES.sub(lambda found: values[found[1]], pattern) if all(values.values()) else None


def _path(row: dict[str, Any], column: str) -> str | None:
    if column not in row:
        raise RowError(f"lacks '{column}' (has {', '.join(repr(name) for name in row) or 'nothing'})")
    if not isinstance(value := row[column], (str, type(None))):
        raise RowError(f"has {str(value)[:40]} for '{column}', which is no path")
    return value if value and value.strip() else None


def _picture(row: dict[str, Any], column: str) -> dict[str, Any] | None:
    """A picture inside the table, as `datasets` stores it."""
    value = row[column] if isinstance(row[column], dict) else {"bytes": row[column]}
    content, path = value.get("bytes"), value.get("path")
    if not isinstance(content, (bytes, type(None))) or not isinstance(path, (str, type(None))):
        raise RowError(f"has no picture for '{column}', but something else")
    return {"bytes": content, "path": path} if content or path else None


class _Cell:
    """One picture of a memory-mapped table, read when it is called for."""

    def __init__(self, table: Any, column: str, row: int):
        self.table, self.column, self.row = table, column, row

    def __call__(self) -> Any:
        value = self.table.column(self.column)[self.row].as_py()
        return value["bytes"] or value["path"]


def _samples(found: Found, name: str) -> list[ImageSample]:
    form, columns = found.samples.form, found.samples.columns
    rows = range(len(columns[0])) if found.samples.indices is None else found.samples.indices.tolist()
    labels = columns[1].to_pylist() if len(columns) > 1 else [None] * len(columns[0])
    if form.stored.names[0] == "path":
        paths, files = columns[0].to_pylist(), np.repeat(np.arange(len(found.counts)), found.counts).tolist()
        folders = [path.parent for path in found.files]
        return [ImageSample(folders[files[i]] / paths[i] if files else Path(paths[i]), labels[i]) for i in rows]
    column = "image" if isinstance(found.table, cache.Table) else form.columns[0]
    return [ImageSample(_Cell(found.table, column, i), labels[i], f"{name}#{i}") for i in rows]


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
        DataError: it has no pictures, or is not what it looks like.
    """
    notes: list[str] = []
    path = follow(source)
    if source.startswith("python:"):
        return Arrays(_python(source.removeprefix("python:")), notes)
    if path.is_dir():
        splits = _directory(path, notes)
        return Arrays(splits, notes) if splits else None
    if path.suffix == ".npz" and path.exists():
        return Arrays(_npz(sources.regular(path)), notes)
    if path.suffix.lower() in SUFFIXES and path.exists():
        return Arrays({"train": [ImageSample(path)]}, notes)
    if glob.has_magic(source) and path.suffix.lower() in SUFFIXES:
        return Arrays({"train": [ImageSample(one) for one in sources.matching(source, notes)]}, notes)
    return None


def _directory(folder: Path, notes: list[str]) -> Splits:
    """Empty if there are only tables in it."""
    if _idx_files(folder):
        return _idx(folder)
    if (folder / "batches.meta").is_file() or (folder / "meta").is_file():
        return _cifar_batches(folder)
    inner = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    named = {NAMES[entry.name.lower()]: entry for entry in inner if entry.name.lower() in NAMES}
    parts: dict[Split, Path] = named if "train" in named else {"train": folder}
    found = {split: sources.walk(part, notes) for split, part in parts.items()}
    splits = {split: _class_folders(parts[split], paths) for split, paths in found.items()}
    if all(splits.values()):
        return splits
    if archives := sorted(folder.glob("*.npz")):
        return _npz(sources.regular(archives[0]))
    if not any(splits.values()) and any(_is_table(path) for paths in found.values() for path in paths):
        return {}
    empty = next(parts[split] for split, samples in splits.items() if not samples)
    raise DataError(
        f"{empty} has no pictures in it ({', '.join(sorted(SUFFIXES))}). Expected a folder per class, or "
        f"train/, val/ and test/ with a folder per class in each."
    )


def _is_table(path: Path) -> bool:
    return endings.kind(path) in endings.KINDS and endings.kind(path) != ".txt"


def _class_folders(folder: Path, paths: list[Path]) -> list[ImageSample]:
    """Pictures in a folder per class, at any depth below; pictures without such a folder have no label."""
    depth = len(folder.parts)
    return [
        ImageSample(path, path.parts[depth] if len(path.parts) > depth + 1 else None)
        for path in paths
        if path.suffix.lower() in SUFFIXES
    ]


# Arrays ---------------------------------------------------------------------------------------------------------


def _of_arrays(images: np.ndarray, labels: Iterable[Any], names: Any, source: str) -> list[ImageSample]:
    """Samples of [N, H, W] or [N, H, W, 3] uint8."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise DataError(
            f"{source} has {images.dtype} of {list(images.shape)}; expected uint8, [N, H, W] or [N, H, W, 3]."
        )
    try:
        called = [str(names[int(label)]) if names is not None else str(label) for label in labels]
    except (IndexError, ValueError, TypeError) as error:
        raise DataError(f"{source} has a label that is no number of its {len(names)} classes.") from error
    if len(called) != len(images):
        raise DataError(f"{source}: {len(images)} pictures, but {len(called)} labels.")
    return [
        ImageSample(image, label, f"{source}#{i}") for i, (image, label) in enumerate(zip(images, called, strict=True))
    ]


def _idx_files(folder: Path) -> dict[str, Path]:
    """MNIST's files by what stands before "-images" or "-labels": {"train-images": …, "t10k-labels": …}."""
    files = {}
    for path in sorted(folder.glob("*-idx[13]-ubyte*")):
        files[path.name.partition("-idx")[0]] = path
    return files


def _idx(folder: Path) -> Splits:
    files = _idx_files(folder)
    names = _FASHION if "fashion" in folder.resolve().name.lower() else None
    splits: Splits = {}
    known: tuple[tuple[str, Split], ...] = (("train", "train"), ("t10k", "test"))
    for prefix, split in known:
        if f"{prefix}-images" in files and f"{prefix}-labels" in files:
            images, labels = (_idx_array(files[f"{prefix}-{what}"]) for what in ("images", "labels"))
            splits[split] = _of_arrays(images, labels, names, f"{folder}/{prefix}")
    if "train" not in splits:
        raise DataError(f"{folder} has no pair train-images-idx3-ubyte and train-labels-idx1-ubyte (or .gz).")
    return splits


def _idx_array(path: Path) -> np.ndarray:
    """Source: the format at the end of LeCun's MNIST page: two zeros, type (8: uint8), number of sizes, sizes, data."""
    with _readable(path, "an idx file of bytes"), encodings.open_bytes(sources.regular(path)) as file:
        zeros, kind, rank = file.read(2), *file.read(2)
        shape = np.frombuffer(file.read(4 * rank), ">u4").tolist()
        assert (zeros, kind, len(shape)) == (b"\0\0", 8, rank)
        size = math.prod(shape)
        data = file.read(size + 1) if size < _LARGEST else b""
        return np.frombuffer(data, np.uint8).reshape(shape)


@contextmanager
def _readable(path: Path, what: str) -> Iterator[None]:
    """Whatever a reader raises of a file says that it is damaged."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"{path} is damaged, or not {what} ({why}).") from error


def _npz(path: Path) -> Splits:
    with _readable(path, "an .npz of arrays"), np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
        names = arrays.get("label_names")
        if names is None and "cifar10" in path.stem.replace("-", "").lower():
            names = np.array(_CIFAR10)
        splits: Splits = {}
        for word, split in NAMES.items():
            if f"x_{word}" in arrays and f"y_{word}" in arrays:
                images, labels = arrays[f"x_{word}"], arrays[f"y_{word}"].reshape(-1)
                splits[split] = _of_arrays(images, labels, names, f"{path.name}/{word}")
    if "train" not in splits:
        raise DataError(f"{path} has arrays {', '.join(arrays)}; expected x_train and y_train, x_test and y_test.")
    return splits


_PLAIN = {("numpy", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


class _Plain(pickle.Unpickler):
    """Arrays and plain types only: a pickle could run any code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.partition(".")[0], name) in _PLAIN:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds {module}.{name}")


def _cifar_batches(folder: Path) -> Splits:
    """CIFAR-10's and CIFAR-100's "python version"."""
    ten = (folder / "batches.meta").is_file()
    key, known = (b"labels", b"label_names") if ten else (b"fine_labels", b"fine_label_names")
    with _unpickled(folder / ("batches.meta" if ten else "meta")) as meta:
        names = [name.decode() for name in meta[known]]
    train = sorted(folder.glob("data_batch_*")) if ten else [folder / "train"]
    files: dict[Split, list[Path]] = {"train": train, "test": [folder / ("test_batch" if ten else "test")]}
    splits: Splits = {}
    for split, paths in files.items():
        splits[split] = []
        for path in paths:
            with _unpickled(path) as batch:
                images = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
                splits[split] += _of_arrays(images, batch[key], names, f"{folder.name}/{path.name}")
    return splits


@contextmanager
def _unpickled(path: Path) -> Iterator[dict[bytes, Any]]:
    """A batch; what goes wrong with it says that the file is damaged."""
    if not path.exists():
        raise MissingInputError(f"{path}: no such file; a folder of CIFAR has it.")
    with _readable(path, "a batch of CIFAR"), open(sources.regular(path), "rb") as file:
        yield _Plain(file, encoding="bytes").load()


def _python(name: str) -> Splits:
    """What a Python package carries: sklearn.datasets.load_digits, say: an object with images and targets."""
    trust.check_source(name, "sklearn.datasets.load_")
    module, _, function = name.rpartition(".")
    try:
        load: Callable[[], Any] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise MissingInputError(f"data: python:{name}: {error}.") from error
    found = load()
    if not hasattr(found, "images") or not hasattr(found, "target"):
        raise ConfigError(f"data: python:{name} returns no pictures (an object with images and target).")
    images = np.asarray(found.images)
    pixels = np.rint(images * (255 / images.max())).astype(np.uint8) if images.dtype != np.uint8 else images
    return {"train": _of_arrays(pixels, found.target, getattr(found, "target_names", None), function)}


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
