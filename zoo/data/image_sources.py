"""Where pictures come from: folders, tables, hub data sets, MNIST's and CIFAR's files, what Python packages carry.

Every reader returns samples by split: {"train": […], "test": […]}; a source without splits is all "train".
"""

import gzip
import importlib
import json
import os
import pickle
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from zoo import hub, trust
from zoo.errors import ConfigError, DataError, MissingInputError
from zoo.paths import follow
from zoo.pictures.reading import SUFFIXES
from zoo.samples import ImageSample, Split

datasets.disable_progress_bars()

Splits = dict[Split, list[ImageSample]]

TABLES = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
_NAMES: dict[str, Split] = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
_NAMES |= {"validation": "validation", "dev": "validation", "test": "test"}
_PATH_COLUMNS = ("image", "path", "file_name", "file", "filename", "img")
_LABEL_COLUMNS = ("label", "labels", "class", "fine_label", "target")
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def read(source: str, label_column: str | None = None, subset: str | None = None) -> Splits:
    """The samples of a source, in a fixed order.

    Args:
        label_column: of a table or hub data set; None for the one that is called label, or class …
        subset: of a hub data set (its "config").

    Raises:
        MissingInputError: there is no such file, folder or data set.
        DataError: it has no pictures, or is not what it looks like.
    """
    if source.startswith("python:"):
        return _python(source.removeprefix("python:"))
    path = follow(source)
    if path.is_dir():
        return _directory(path)
    if path.suffix in TABLES and path.is_file():
        return {"train": _table_file(path, label_column)}
    if path.suffix == ".npz" and path.is_file():
        return _npz(path)
    if path.suffix == ".txt" and path.is_file():
        lines = path.read_text("utf-8").splitlines()
        return {"train": [_file(path.parent / line.strip(), None) for line in lines if line.strip()]}
    if path.suffix.lower() in SUFFIXES and path.is_file():
        return {"train": [_file(path, None)]}
    if source.startswith((".", "/", "~")) or path.suffix in {*TABLES, *SUFFIXES, ".npz", ".txt"}:
        raise MissingInputError(f"data: {source}: no such file or folder.")
    return _hub(source, subset, label_column)


# Folders --------------------------------------------------------------------------------------------------------


def _directory(folder: Path) -> Splits:
    if _idx_files(folder):
        return _idx(folder)
    if (folder / "batches.meta").is_file() or (folder / "meta").is_file():
        return _cifar_batches(folder)
    inner = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    named = {_NAMES[entry.name.lower()]: entry for entry in inner if entry.name.lower() in _NAMES}
    if "train" in named:
        return {split: _class_folders(entry) for split, entry in named.items()}
    if archives := sorted(folder.glob("*.npz")):
        return _npz(archives[0])
    return {"train": _class_folders(folder)}


def _class_folders(folder: Path) -> list[ImageSample]:
    """Pictures in a folder per class, at any depth below; pictures without such a folder have no label."""
    samples = []
    for at, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        inside = Path(at).relative_to(folder).parts
        label = inside[0] if inside else None
        samples += [_file(Path(at) / name, label) for name in sorted(files) if _is_picture(name)]
    if not samples:
        raise DataError(
            f"data: {folder} has no pictures in it ({', '.join(sorted(SUFFIXES))}). Expected a folder per class, or "
            f"train/, val/ and test/ with a folder per class in each."
        )
    return samples


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def _file(path: Path, label: str | None) -> ImageSample:
    return ImageSample(path, label)


# Tables and the hub ---------------------------------------------------------------------------------------------


def _table_file(path: Path, label_column: str | None) -> list[ImageSample]:
    settings: dict[str, Any] = {"sep": "\t"} if path.suffix == ".tsv" else {}
    try:
        table = datasets.load_dataset(TABLES[path.suffix], data_files=str(path), split="train", **settings)
    except Exception as error:
        raise DataError(f"{path} cannot be read as {path.suffix}: {type(error).__name__}.") from error
    return _rows(table, str(path), path.parent, label_column)


def _hub(source: str, subset: str | None, label_column: str | None) -> Splits:
    found = hub.load_dataset(source, subset)
    splits = {_NAMES[name]: name for name in found if name in _NAMES}
    return {split: _rows(found[name], f"{source} ({name})", Path(), label_column) for split, name in splits.items()}


class _Cell:
    """One picture of a memory-mapped table, read when it is called for."""

    def __init__(self, table: datasets.Dataset, row: int, column: str):
        self.table, self.row, self.column = table, row, column

    def __call__(self) -> Any:
        value = self.table[self.row][self.column]
        return value["bytes"] or value["path"] if isinstance(value, dict) else value


def _rows(table: datasets.Dataset, source: str, folder: Path, label_column: str | None) -> list[ImageSample]:
    picture = _column(table, source, _PATH_COLUMNS, "picture")
    is_path = table.features[picture].dtype in ("string", "large_string")
    if isinstance(table.features[picture], datasets.Image):
        table = table.cast_column(picture, datasets.Image(decode=False))
    labels = _labels(table, source, label_column)
    if is_path:
        return [_file(folder / name, label) for name, label in zip(table[picture], labels, strict=True)]
    cells = table.select_columns([picture])
    return [ImageSample(_Cell(cells, i, picture), label, f"{source}#{i}") for i, label in enumerate(labels)]


def _labels(table: datasets.Dataset, source: str, asked: str | None) -> list[str | None]:
    names = [asked] if asked else [name for name in _LABEL_COLUMNS if name in table.column_names][:1]
    if not names:
        return [None] * len(table)
    if names[0] not in table.column_names:
        raise DataError(f"{source} has no column '{asked}' (columns: {', '.join(table.column_names)}).")
    feature, values = table.features[names[0]], table[names[0]]
    if isinstance(feature, datasets.ClassLabel):
        return [feature.int2str(value) if value is not None and value >= 0 else None for value in values]
    return [None if value is None else str(value) for value in values]


def _column(table: datasets.Dataset, source: str, names: Iterable[str], what: str) -> str:
    found = next((name for name in names if name in table.column_names), None)
    if found is None:
        raise DataError(
            f"{source} has no column with a {what} (columns: {', '.join(table.column_names)}; expected one of "
            f"{', '.join(names)})."
        )
    return found


# Arrays ---------------------------------------------------------------------------------------------------------


def _arrays(images: np.ndarray, labels: Iterable[Any], names: Any, source: str) -> list[ImageSample]:
    """Samples of [N, H, W] or [N, H, W, 3] uint8."""
    called = [str(names[int(label)]) if names is not None else str(label) for label in labels]
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
            splits[split] = _arrays(images, labels, names, f"{folder}/{prefix}")
    if "train" not in splits:
        raise DataError(f"{folder} has no pair train-images-idx3-ubyte and train-labels-idx1-ubyte (or .gz).")
    return splits


def _idx_array(path: Path) -> np.ndarray:
    """Source: the format at the end of LeCun's MNIST page: two zeros, type (8: uint8), number of sizes, sizes, data."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        rank = data[3]
        shape = np.frombuffer(data, ">i4", rank, 4)
        assert data[:3] == b"\0\0\x08"
        return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, IndexError, ValueError, AssertionError) as error:
        raise DataError(f"{path} is damaged, or no idx file of bytes ({type(error).__name__}).") from error


def _npz(path: Path) -> Splits:
    try:
        arrays = dict(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {type(error).__name__}.") from error
    names = arrays.get("label_names")
    if names is None and "cifar10" in path.stem.replace("-", "").lower():
        names = np.array(_CIFAR10)
    splits: Splits = {}
    for word, split in _NAMES.items():
        if f"x_{word}" in arrays and f"y_{word}" in arrays:
            images, labels = arrays[f"x_{word}"], arrays[f"y_{word}"].reshape(-1)
            splits[split] = _arrays(images, labels, names, f"{path.name}/{word}")
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
    meta = _unpickled(folder / ("batches.meta" if ten else "meta"))
    key, names = (b"labels", meta[b"label_names"]) if ten else (b"fine_labels", meta[b"fine_label_names"])
    names = [name.decode() for name in names]
    train = sorted(folder.glob("data_batch_*")) if ten else [folder / "train"]
    files: dict[Split, list[Path]] = {"train": train, "test": [folder / ("test_batch" if ten else "test")]}
    splits: Splits = {}
    for split, paths in files.items():
        splits[split] = []
        for path in paths:
            batch = _unpickled(path)
            images = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            splits[split] += _arrays(images, batch[key], names, f"{folder.name}/{path.name}")
    return splits


def _unpickled(path: Path) -> dict[bytes, Any]:
    try:
        with open(path, "rb") as file:
            return _Plain(file, encoding="bytes").load()
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: no such file; a folder of CIFAR has it.") from error
    except (pickle.UnpicklingError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a batch of CIFAR: {error}.") from error


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
    return {"train": _arrays(pixels, found.target, getattr(found, "target_names", None), function)}


# Headers --------------------------------------------------------------------------------------------------------


def check_headers(samples: list[ImageSample], cache: Path, header: Callable[[Path], str | None]) -> dict[int, str]:
    """What is wrong with files, by index, as far as their first bytes show. In parallel, and once for each file.

    Args:
        cache: a file that remembers the good ones by path, size and time of change.
    """
    paths = {i: Path(sample.image) for i, sample in enumerate(samples) if isinstance(sample.image, (str, Path))}
    known = set(json.loads(cache.read_text("utf-8"))) if cache.is_file() else set()
    with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:
        keys = dict(zip(paths, pool.map(_file_key, paths.values()), strict=True))
        new = [i for i in paths if keys[i] not in known]
        reasons = dict(zip(new, pool.map(lambda i: header(paths[i]), new), strict=True))
    if new:
        good = [key for i, key in keys.items() if reasons.get(i) is None]
        cache.parent.mkdir(parents=True, exist_ok=True)
        beside = cache.with_name(f"{cache.name}.{os.getpid()}.tmp")
        beside.write_text(json.dumps(good), "utf-8")
        os.replace(beside, cache)
    return {i: reason for i, reason in reasons.items() if reason is not None}


def _file_key(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{path} {status.st_size} {status.st_mtime_ns}"
