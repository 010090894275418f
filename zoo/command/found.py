"""What zoo init recognised in a folder: something to train on, or why it is none."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.command.inventory import Entry, Inventory
from zoo.files.endings import taken

SPLITS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
SPLITS |= {"validation": "validation", "dev": "validation", "test": "test"}
ORDER = ("train", "validation", "test")

NO_TASK = {
    "preferences": "zoo has no task for preference pairs (chosen, rejected) yet",
    "numbers": "zoo has no task for tables of numbers and categories; scikit-learn is made for these",
    "detection": "zoo has no task for boxes or masks in images",
    "captions": "zoo has no task for images with captions yet",
}
"""What people bring and zoo does not train on. A task that comes takes its line away."""


@dataclass
class Found:
    """One thing that was recognised.

    Args:
        kind: which config it gets: text, chat, classes (of texts), images, generation (of images without classes), or
            speech.
        what: for people, as "24 images in 2 classes (cats 12, dogs 12)".
        sources: for data.train, data.validation, data.test, by those words.
        settings: further ones of the data.
        notes: what else was concluded, a line each.
        refusal: why there is no config for it; empty where there is one.
        entries: the files that it is about.
        named: images or recordings that rows of a table name.
        size: characters of text, images, or seconds of recordings.
        sample: some of the text.
        language: that it is in, as far as it can be told.
        side: shorter side of most images, in pixels.
        signs: classes are digits or letters, which are no longer the same when mirrored.
    """

    kind: str
    what: str
    sources: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refusal: str = ""
    entries: Sequence[Entry] = ()
    named: Sequence[Entry] = ()
    size: int = 0
    sample: str = ""
    language: str = ""
    side: int = 224
    signs: bool = False

    @property
    def weight(self) -> int:
        return sum(entry.size for entry in (*self.entries, *self.named))


def split_of(word: str) -> str | None:
    """The split that a file or folder is of by its name: train.csv, train-00000.parquet, val."""
    for mark in "-_.":
        word = word.partition(mark)[0]
    return SPLITS.get(word.lower())


def by_split(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Files by the split that their names, or those of the folders around them, say; all are train if one says none."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        split = next((split for part in entry.parts if (split := split_of(part))), None)
        found.setdefault(split or "", []).append(entry)
    return found if "train" in found and "" not in found else {"train": list(entries)}


def source(inventory: Inventory, entries: Sequence[Entry]) -> str | None:
    """How to name just these texts or tables: the one, their folder, or a pattern; None where there is no such name."""
    if len(entries) == 1:
        return entries[0].path.as_posix()
    mine = {entry.location for entry in entries}
    inside = _common([entry.parts[:-1] for entry in entries])
    folder = inventory.root.joinpath(*inside).as_posix()
    around = [entry for entry in inventory.entries if entry.parts[: len(inside)] == inside]
    whole = bool(inside) or not inventory.left.get("not looked into")  # a data module would look into these
    if whole and {str(path) for path in taken(entry.path for entry in around)} == {str(e.path) for e in entries}:
        return folder
    suffixes = {entry.path.suffix for entry in entries}
    if len(suffixes) == 1:
        suffix = next(iter(suffixes))
        alike = [entry for entry in around if entry.path.suffix == suffix]
        at_top = [entry for entry in alike if len(entry.parts) == len(inside) + 1]
        for pattern, matching in ((f"*{suffix}", at_top), (f"**/*{suffix}", alike)):
            if {entry.location for entry in matching} == mine:
                return (Path(glob.escape(folder)) / pattern).as_posix()
    return None


def _common(folders: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    first, last = min(folders), max(folders)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:same]
