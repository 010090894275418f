"""ImageData: images and their classes from folders, tables, the hub, or what is on disk of MNIST and CIFAR."""

import functools
import os
from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar

import torch

from zoo import streams
from zoo.constraints import NonNegativeInt, PositiveInt, checked
from zoo.data import image_sources
from zoo.datamodule import DataModule, held_out_by_class
from zoo.files import cache
from zoo.files.forms import Found
from zoo.files.paths import follow
from zoo.images import reading
from zoo.samples import Batch, ImageSample, Split


@checked
class ImageData(DataModule):
    """Images to train, validate and test on, and images to predict.

    A source is a folder (one per class in it, or train/, val/ and test/ with one per class in each; without classes it
    does for tasks that need none), a table with a column of paths or images (.csv, .tsv, .jsonl, .json, .parquet), a
    folder or glob of such tables, a list of paths (.txt), a data set of the Hugging Face hub, a folder with MNIST's idx
    files or CIFAR's batches, an .npz with x_train, y_train …, or `python:sklearn.datasets.load_digits`, the handwritten
    digits inside scikit-learn. What to predict may be a single image too. Of train, validation_fraction and
    test_fraction are the same share of every class.

    Args:
        image_column: column of a table or hub data set that holds the image or its path. null takes the one called
            image, path, file_name … A pattern with columns in braces names files from the table's folder:
            images/{image_id}.jpg.
        label_column: column that holds the class. null takes the one called label, class …, if there is one.
        limit: how many training images are used, with the same share of every class. null takes all.
        show: a .png file to which the first training batch is drawn, as the network sees it.
        num_workers: processes that read and encode images. null takes as many as there are cores.
    """

    sample_types = (ImageSample,)
    looks = "zoo.data.image_sources"
    shorthands: ClassVar[dict[str, str]] = {"image": "data.predict"}
    changeable_on_resume = ("data.train", "data.validation", "data.show")
    example_sources: ClassVar[dict[str, str]] = {
        "train": "a folder with one folder per class, a table, or a hub data set.",
        "predict": "an image, a folder, or a list. zoo predict --image x.jpg",
    }

    def __init__(
        self,
        image_column: str | None = None,
        label_column: str | None = None,
        limit: PositiveInt | None = None,
        show: str | None = None,
        num_workers: NonNegativeInt | None = None,
        **kwargs: Any,
    ):
        super().__init__(limit=limit, num_workers=_cores() if num_workers is None else num_workers, **kwargs)
        self.image_column, self.label_column, self.show = image_column, label_column, show
        self._arrays = functools.cache(image_sources.arrays)

    # Sources ----------------------------------------------------------------------------------------------------

    def read(self, source: str, split: Split, setting: Split) -> Found | None:
        if (found := self._arrays(source)) is not None:
            return Found(found.splits[split], found.notes) if split in found.splits else None
        return image_sources.rows(source, split, self.reading, self.image_column, self.label_column, self.subset)

    def to_predict(self, source: str) -> Found:
        splits: tuple[Split, ...] = ("train", "validation", "test")
        found = [one for split in splits if (one := self._read(source, split, "predict")) is not None]
        return Found([sample for one in found for sample in one.samples], found[0].notes)

    # Splits -----------------------------------------------------------------------------------------------------

    def divide(
        self, samples: list[ImageSample], shares: dict[Split, float]
    ) -> tuple[dict[Split, list[ImageSample]], str]:
        rows = held_out_by_class([sample.label for sample in samples], shares, self.seed)
        parts = {split: [samples[i] for i in indices] for split, indices in rows.items()}
        kept = parts["train"]
        train = _share(kept, self.limit, self.seed) if self.limit else kept
        return {**parts, "train": train}, "{share} of each class"

    def usable(self, samples: list[ImageSample], split: Split) -> tuple[list[ImageSample], list[str]]:
        """The samples whose files begin as images do."""
        source = self.sources[split] or self.sources["train"] or ""
        name = cache.key([follow(source).absolute(), split])
        broken = image_sources.check_headers(samples, name, reading.header)
        if broken:
            self.bad.add(split, [(str(samples[i]), reason) for i, reason in broken.items()], len(samples))
        return [sample for i, sample in enumerate(samples) if i not in broken], []

    def summary(self, samples: list[ImageSample]) -> str:
        classes = len({sample.label for sample in samples if sample.label is not None})
        return f"{len(samples):,} images" + (f", {classes} classes" if classes else "")

    # Looking ----------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> Any:
        loader: Any = super().train_dataloader()
        if self.show and self.trainer.is_global_zero:
            step = self.trainer.global_step
            keys = loader.batch_sampler.batch(step)[:64]
            self._draw(loader.collate_fn([loader.dataset[key] for key in keys]), step, Path(self.show))
        return loader

    def _draw(self, batch: Batch, step: int, path: Path) -> None:
        """An image grid of a training batch as the network sees it, each image with what it is to learn of it."""
        from zoo.images import drawing

        batch = self.task.prepared(batch, "train", step)
        captions = self.task.captions(batch)
        if getattr(batch.get("image"), "dtype", None) != torch.uint8:
            print("\n".join(captions))
            return
        drawing.mosaic(list(batch["image"]), captions, path)
        print(f"written: {path}")


def _share(samples: list[ImageSample], count: int, seed: int) -> list[ImageSample]:
    """`count` of the samples, the same share of every class, in their order."""
    ranked = []
    for label, indices in _by_label(samples).items():
        order = streams.permutation(len(indices), seed, "limit", label or "").tolist()
        ranked += [((rank + 0.5) / len(indices), indices[i]) for rank, i in enumerate(order)]
    return [samples[i] for i in sorted(i for _, i in sorted(ranked)[:count])]


def _by_label(samples: list[ImageSample]) -> dict[str | None, list[int]]:
    found: dict[str | None, list[int]] = defaultdict(list)
    for i, sample in enumerate(samples):
        found[sample.label].append(i)
    return found


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
