"""Images that are asked for: classes to numbers, and the names of files.

B images of a batch
"""

import re
from collections.abc import Sequence

import torch

from zoo.classification.labels import some
from zoo.errors import ConfigError
from zoo.samples import Batch, ImageRequest, Item, Processor


class RequestProcessor(Processor):
    """Classes of images to make, to numbers.

    Args:
        label_names: of the classes.
    """

    def __init__(self, label_names: list[str]):
        self.label_names = label_names

    def encode(self, samples: Sequence[ImageRequest]) -> list[Item]:
        known: dict[str | None, int] = {name: i for i, name in enumerate([*self.label_names, None])}
        if unknown := next((s.label for s in samples if s.label not in known), None):
            there = f"its classes are {some(self.label_names)}" if self.label_names else "it knows no classes"
            raise ConfigError(f"no class is called {unknown!r}: {there}.")
        return [{"label": known[sample.label], "name": sample.label} for sample in samples]

    def collate(self, items: Sequence[Item]) -> Batch:
        return {"targets": torch.tensor([item["label"] for item in items]), "name": [item["name"] for item in items]}


def file_name(number: int, label: str | None) -> str:
    """Of an image: its number, and its class as far as a file's name can have it."""
    readable = re.sub(r"[^\w-]+", "_", label or "")
    return f"{number:05d}_{readable}.png" if readable else f"{number:05d}.png"
