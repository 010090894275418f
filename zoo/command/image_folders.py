"""Images in a folder: their classes by the folders they are in, their sizes, and which of them cannot be read."""

import os
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.command.found import NO_TASK, ORDER, SPLITS, Found
from zoo.command.inventory import Entry, Inventory, count, most
from zoo.errors import DataError, typed
from zoo.files.paths import printable

_OPENED = 1000
_DECODED = 10_000_000
"""Pixels that are decoded in all; of further images the first bytes and the last are looked at."""
_TOO_MANY = 0.2
_NAMED = 3
_ENOUGH = 100
"""Images from which on a generator is proposed, where there are no classes."""
_ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND\xaeB`\x82", b"GIF8": b";"}
"""How files of a format begin and end."""


def look(inventory: Inventory) -> list[Found]:
    """The images, as one thing to train on; nothing where there are none."""
    if arrays := _arrays(inventory):
        return [arrays]
    images = inventory.of("image")
    if not images:
        return []
    root, inside = _descended(inventory, images)
    splits, loose = _classes(images, inside)
    found = Found("images", "", entries=images, size=len(images))
    if _has_no_classes(inventory, splits, loose, images):
        root = Path(os.path.commonpath([entry.path.parent for entry in images]))
        found.kind, found.sources = "generation", {"train": root.as_posix()}
        without = f"{count(len(images), 'image')} without classes"
        found.refusal, found.what = _among_runs(root, without, "be among them"), f"{without}, to make images like them"
        found.notes = ["to tell images apart instead, put them into a folder per class"]
        open_some(found, images)
        return [found]
    if refusal := _refusal(inventory, root, splits, loose, images):
        found.what = found.refusal = refusal
        return [found]
    train = splits.get("train", splits.get("", {}))
    classes = Counter({name: len(entries) for name, entries in train.items()})
    used = [entry for classes_ in splits.values() for entries in classes_.values() for entry in entries]
    found.what = f"{count(classes.total(), 'image')} in {len(classes)} classes: {most(classes)}"
    found.sources = {"train": root.as_posix()}
    found.signs = all(len(name) == 1 for name in classes)
    found.notes = _of_splits(splits, classes) + _leftover(images, used, loose)
    open_some(found, used)
    return [found]


# Classes --------------------------------------------------------------------------------------------------------


def _descended(inventory: Inventory, images: Sequence[Entry]) -> tuple[Path, int]:
    """The folder whose folders are the classes or splits, and how far inside it is."""
    depth = 0
    while True:
        around = {entry.parts[depth] if len(entry.parts) > depth + 1 else "" for entry in images}
        deeper = all(len(entry.parts) > depth + 2 for entry in images)
        if len(around) != 1 or not deeper or next(iter(around)).lower() in SPLITS:
            return inventory.root.joinpath(*images[0].parts[:depth]), depth
        depth += 1


def _classes(images: Sequence[Entry], inside: int) -> tuple[dict[str, dict[str, list[Entry]]], list[Entry]]:
    """Images by split ("" for none) and class, and those without a folder of their own."""
    splits: dict[str, dict[str, list[Entry]]] = {}
    loose = []
    named = {entry.parts[inside].lower() for entry in images if len(entry.parts) > inside + 1} & SPLITS.keys()
    has_train = any(SPLITS[name] == "train" for name in named)
    for entry in images:
        folders = entry.parts[inside:-1]
        split = SPLITS.get(folders[0].lower(), "") if folders and named else ""
        folders = folders[1:] if split else folders
        if not folders or (has_train and not split):
            loose.append(entry)
        else:
            splits.setdefault(split, {}).setdefault(folders[0], []).append(entry)
    return splits, loose


def _has_no_classes(
    inventory: Inventory, splits: dict[str, dict[str, list[Entry]]], loose: list[Entry], images: list[Entry]
) -> bool:
    """Whether they do for a generator: enough images, all in one folder, with neither texts nor names of classes."""
    texts = {(*entry.parts[:-1], entry.path.stem) for entry in inventory.of("text")}
    beside = sum((*entry.parts[:-1], entry.path.stem) in texts for entry in images)
    classes = {name for named in splits.values() for name in named}
    is_one = not splits or (len(classes) == 1 and not loose)
    return is_one and len(images) >= _ENOUGH and beside <= len(images) // 2 and not _by_name(images)


def _refusal(
    inventory: Inventory, root: Path, splits: dict[str, dict[str, list[Entry]]], loose: list[Entry], images: list[Entry]
) -> str:
    """Why zoo cannot tell these images apart; empty if it can."""
    at, images_ = printable(root), count(len(images), "image")
    texts = {(*entry.parts[:-1], entry.path.stem) for entry in inventory.of("text")}
    beside = sum((*entry.parts[:-1], entry.path.stem) in texts for entry in images)
    if not splits:
        if beside > len(images) // 2:
            return f"{at}: {images_} with a text beside each: {NO_TASK['captions']}"
        by_name = _by_name(images)
        hint = f". Their names begin with {most(by_name)}: move those into folders of these names" if by_name else ""
        inner = "" if hint else f" ({at}/cats, {at}/dogs …), or a table with columns path and label"
        return f"{at}: {images_}, all in one folder; to tell them apart, zoo needs a folder per class{inner}{hint}"
    if "train" not in splits and splits.keys() - {""}:
        held = ", ".join(sorted(name for name in splits if name))
        what = "and classes beside them: move those into train" if "" in splits else "and none for train"
        return f"{at}: {images_} in folders for {held}, {what}"
    train = splits.get("train", splits.get("", {}))
    if len(train) < 2:
        return f"{at}: {images_} in one class ({printable(next(iter(train), ''))}); there is nothing to tell apart"
    if loose and "train" not in splits:
        return (
            f"{at}: {count(len(loose), 'image')} ({printable(loose[0].parts[-1])} …) outside of the folders of the "
            f"classes; move each into one of them, or away"
        )
    return _among_runs(root, f"{images_} in classes", "become a class")


def _among_runs(root: Path, images: str, danger: str) -> str:
    """Why images must not be where the runs will be; empty where they are not."""
    cwd = Path.cwd()
    if root.resolve() not in (cwd, cwd / "runs"):
        return ""
    return (
        f"{printable(root)}: {images}, in the working directory itself, where zoo makes a folder runs, which would "
        f"{danger}. Go one up: cd .. && {typed(f'zoo init {cwd.name}')}"
    )


def _by_name(images: Sequence[Entry]) -> Counter[str]:
    """Classes that the names of files begin with, as cat.0.jpg, dog_12.jpg."""
    words = [re.match(r"[^\W\d_]+", entry.path.stem) for entry in images]
    counted = Counter(word[0] for word in words if word)
    return counted if 2 <= len(counted) <= max(2, len(images) // 3) and counted.total() == len(images) else Counter()


def _of_splits(splits: dict[str, dict[str, list[Entry]]], classes: Counter[str]) -> list[str]:
    notes = []
    if "train" in splits:
        sums = {split: sum(map(len, named.values())) for split, named in splits.items()}
        shown = ", ".join(f"{split} {sums[split]:,}" for split in ORDER if split in sums)
        notes.append(f"splits, by the names of folders: {shown}")
        strange = sorted({name for split in splits.values() for name in split} - classes.keys())
        if strange:
            notes.append(f"not among the classes of train: {', '.join(map(printable, strange[:5]))}")
    if few := [name for name, number in classes.items() if number == 1]:
        notes.append(f"with a single image, so none to validate on: {', '.join(map(printable, sorted(few)[:5]))}")
    return notes


def _leftover(images: Sequence[Entry], used: Sequence[Entry], loose: Sequence[Entry]) -> list[str]:
    if not loose:
        return []
    folders = Counter("/".join(entry.parts[:-1]) + "/" for entry in loose)
    return [f"not used, as no class is known of them: {count(len(loose), 'image')} ({most(folders)})"]


# Files ----------------------------------------------------------------------------------------------------------


def open_some(found: Found, entries: Sequence[Entry]) -> None:
    """Read what time allows, and say what cannot be."""
    step = max(1, -(-len(entries) // _OPENED))
    some, broken, sides, room = entries[::step], [], [], _DECODED
    for entry in some:
        reason, size = _looked_at(entry.path, room)
        room -= size[0] * size[1]
        if reason:
            broken.append((entry, reason))
        else:
            sides.append(min(size))
    found.side = sorted(sides)[len(sides) // 2] if sides else 0
    if step > 1:
        found.notes.append(f"opened: {len(some):,} of the {len(entries):,} images")
    if not broken:
        return
    shown = "; ".join(f"{printable('/'.join(entry.parts))}: {reason}" for entry, reason in broken[:_NAMED])
    more = f"; and {len(broken) - _NAMED:,} more" if len(broken) > _NAMED else ""
    found.notes.append(f"cannot be read: {len(broken):,} of {len(some):,} ({shown}{more})")
    if len(broken) > _TOO_MANY * len(some):
        found.refusal = f"{found.what}: {len(broken):,} of {len(some):,} cannot be read, too many ({shown}{more})"
    else:
        held = max(1, found.size // 10)  # in the worst case all are in the part that is held out
        found.settings["max_broken"] = round(min(0.5, max(len(broken) / held if step == 1 else 0, 0.01)), 2)


def _looked_at(path: Path, room: int) -> tuple[str, tuple[int, int]]:
    """Why an image cannot be read, or nothing; and its width and height."""
    from zoo.images import reading

    if reason := reading.header(path):
        return reason, (0, 0)
    from PIL import Image

    with Image.open(path) as image:
        size = image.size
    if size[0] * size[1] <= room or _is_cut_off(path):
        try:
            reading.read(path)
        except DataError as error:
            return str(error), size
    return "", size


def _is_cut_off(path: Path) -> bool:
    """Whether a file does not end as its format does, which most that were cut off do not."""
    with open(path, "rb") as file:
        start = file.read(8)
        file.seek(-min(64, path.stat().st_size), 2)
        end = file.read().rstrip(b"\0\r\n ")
    return any(start.startswith(mark) and not end.endswith(last) for mark, last in _ENDS.items())


# Arrays ---------------------------------------------------------------------------------------------------------


def _arrays(inventory: Inventory) -> Found | None:
    """MNIST's files, CIFAR's batches, or an .npz with x_train and y_train, which zoo.ImageData reads as they are."""
    names = {entry.parts[-1]: entry for entry in inventory.entries if len(entry.parts) == 1}
    settings: dict[str, Any] = {}
    if any(name.startswith("train-images-idx3") for name in names):
        return _array(inventory, "images as MNIST has them (idx files)", inventory.root, settings)
    if "batches.meta" in names or {"meta", "train"} <= names.keys():
        return _array(inventory, "images as CIFAR has them (batches)", inventory.root, settings)
    for entry in inventory.entries:
        if entry.suffix == ".npz" and zipfile.is_zipfile(entry.path):
            held = {name.removesuffix(".npy") for name in zipfile.ZipFile(entry.path).namelist()}
            if {"x_train", "y_train"} <= held:
                return _array(inventory, f"images in arrays ({printable(entry.path.name)})", entry.path, settings)
    return None


def _array(inventory: Inventory, what: str, where: Path, settings: dict[str, Any]) -> Found:
    entries = [entry for entry in inventory.entries if entry.path.is_relative_to(where)]
    size = sum(entry.size for entry in entries) // 3000
    return Found("images", what, {"train": where.as_posix()}, settings, entries=entries, size=size, side=32)
