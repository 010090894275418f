"""Images that are kept in arrays: MNIST's and CIFAR's files, .npz, what Python packages carry."""

import io
import math
import pickle
import pickletools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import ConfigError, DataError, MissingInputError, UserError
from zoo.files import encodings, sources, trust
from zoo.files.sources import NAMES
from zoo.samples import ImageSample, Split

Splits = dict[Split, list[ImageSample]]

_LARGEST = 1 << 36
"""Bytes of one array of images, at most."""
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


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
        raise DataError(f"{source}: {len(images)} images, but {len(called)} labels.")
    return [
        ImageSample(image, label, f"{source}#{i}") for i, (image, label) in enumerate(zip(images, called, strict=True))
    ]


def idx_files(folder: Path) -> dict[str, Path]:
    """MNIST's files by what stands before "-images" or "-labels": {"train-images": …, "t10k-labels": …}."""
    files = {}
    for path in sorted(folder.glob("*-idx[13]-ubyte*")):
        files[path.name.partition("-idx")[0]] = path
    return files


def idx(folder: Path) -> Splits:
    files = idx_files(folder)
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


def npz(path: Path) -> Splits:
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

    @classmethod
    def loaded(cls, content: bytes) -> Any:
        """What is in a pickle.

        The place that it asks for to remember a value may be of any size, and Python would fill memory up to it.
        """
        for operation, place, _ in pickletools.genops(content):
            if operation.name in ("PUT", "LONG_BINPUT") and isinstance(place, int) and place > len(content):
                raise pickle.UnpicklingError(f"it wants to remember {place:,} values")
        return cls(io.BytesIO(content), encoding="bytes").load()


def cifar_batches(folder: Path) -> Splits:
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
        yield _Plain.loaded(file.read())


def python_data(name: str) -> Splits:
    """What a Python package carries: sklearn.datasets.load_digits, say: an object with images and targets."""
    found = trust.call_source(name, "sklearn.datasets.load_")
    function = name.rpartition(".")[2]
    if not hasattr(found, "images") or not hasattr(found, "target"):
        raise ConfigError(f"data: python:{name} returns no images (an object with images and target).")
    images = np.asarray(found.images)
    pixels = np.rint(images * (255 / images.max())).astype(np.uint8) if images.dtype != np.uint8 else images
    return {"train": _of_arrays(pixels, found.target, getattr(found, "target_names", None), function)}
