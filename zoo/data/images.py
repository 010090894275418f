"""ImageData: pictures and their classes from folders, tables, the hub, or what is on disk of MNIST and CIFAR."""

import hashlib
import os
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from zoo import streams
from zoo.data import image_sources
from zoo.datamodule import DataModule
from zoo.errors import ConfigError
from zoo.paths import cache_folder, follow
from zoo.pictures import reading
from zoo.samples import ImageSample, Split


class ImageData(DataModule):
    """Pictures to train, validate and test on, and pictures to predict.

    A source is a folder (one per class in it, or train/, val/ and test/ with one per class in each; without classes it
    does for tasks that need none), a table with a column of paths (.csv, .tsv, .jsonl, .parquet), a data set of the
    Hugging Face hub, a folder with MNIST's idx files or CIFAR's batches, an .npz with x_train, y_train …, or
    `python:sklearn.datasets.load_digits`, the handwritten digits inside scikit-learn.

    Args:
        train: source.
        validation: source; null for the source's own split, else for a part of train.
        test: source; null for the source's own split, else for a part of train (test_fraction), else for the
            validation data.
        predict: a picture, a folder of them, a table, or a list of paths (.txt).
        subset: of a hub data set (its "config").
        label_column: of a table or hub data set; null for the one called label, class …
        validation_fraction: of train, where there is no validation data: the same share of every class.
        test_fraction: likewise for test data.
        limit: train on so many pictures only, the same share of every class; null for all.
        show: a file (.png) for a picture of the first training batch as the network sees it.
        num_workers: null for as many as there are cores.
    """

    shorthands: ClassVar[dict[str, str]] = {"image": "data.predict"}
    free_on_resume = ("data.train", "data.validation", "data.show")

    def __init__(
        self,
        train: str | None = None,
        validation: str | None = None,
        test: str | None = None,
        predict: str | None = None,
        subset: str | None = None,
        label_column: str | None = None,
        validation_fraction: float = 0.1,
        test_fraction: float = 0.0,
        limit: int | None = None,
        show: str | None = None,
        num_workers: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(num_workers=_cores() if num_workers is None else num_workers, **kwargs)
        if not (0 < validation_fraction < 1 and 0 <= test_fraction < 1 and validation_fraction + test_fraction < 1):
            raise ConfigError(
                f"data.validation_fraction is {validation_fraction}, data.test_fraction {test_fraction}; "
                f"shares of the training data, together below 1."
            )
        self.sources: dict[Split, str | None] = {
            "train": train,
            "validation": validation,
            "test": test,
            "predict": predict,
        }
        self.subset, self.label_column, self.limit, self.show = subset, label_column, limit, show
        self.validation_fraction, self.test_fraction = validation_fraction, test_fraction
        self._read = cache(self._read_source)
        self._notes: dict[Split, str] = {}

    # Splits -----------------------------------------------------------------------------------------------------

    def samples(self, split: Split) -> list[ImageSample]:
        samples = self._readable(self._samples(split), split)
        classes = len({sample.label for sample in samples if sample.label is not None})
        origin = self._notes.get(split, self.sources[split] or self.sources["train"])
        self._notes[split] = f"{origin}: {len(samples):,} pictures" + (f", {classes} classes" if classes else "")
        return samples

    def describe(self, split: Split) -> str:
        return self._notes.get(split, "")

    def _samples(self, split: Split) -> list[ImageSample]:
        if split == "predict":
            return self._to_predict()
        if split == "train":
            held = {*self._held_out("validation"), *self._held_out("test")}
            kept = [sample for i, sample in enumerate(self._train()) if i not in held]
            return _share(kept, self.limit, self.seed) if self.limit else kept
        own = self._own(split)
        if own is not None:
            return own
        if held_out := self._held_out(split):
            fraction = self.validation_fraction if split == "validation" else self.test_fraction
            self._notes[split] = f"{fraction:.0%} of each class of {self.sources['train']}"
            train = self._train()
            return [train[i] for i in held_out]
        self._notes[split] = "no test data, so the validation data"
        return self._samples("validation")

    def _train(self) -> list[ImageSample]:
        if (source := self.sources["train"]) is None:
            raise ConfigError("data.train is not set: a folder with one folder per class, a table, or a hub data set.")
        return self._read(source)["train"]

    def _own(self, split: Split) -> list[ImageSample] | None:
        """Data of the split that is named, or that the training source has beside its training data."""
        if source := self.sources[split]:
            found = self._read(source)
            return found.get(split, found["train"])
        self._train()
        return self._read(str(self.sources["train"])).get(split)

    def _held_out(self, split: Split) -> list[int]:
        """Which training samples are kept back for the split: a share of every class, drawn by the seed."""
        if self._own(split) is not None:
            return []
        by_label: dict[str | None, list[int]] = defaultdict(list)
        for i, sample in enumerate(self._train()):
            by_label[sample.label].append(i)
        held = []
        for label, indices in by_label.items():
            order = streams.permutation(len(indices), self.seed, "held out", label or "").tolist()
            test = round(self.test_fraction * len(indices)) if self._own("test") is None else 0
            count = max(1, round(self.validation_fraction * len(indices))) if len(indices) > 1 else 0
            chosen = order[:test] if split == "test" else order[test : test + count]
            held += [indices[i] for i in chosen]
        return sorted(held)

    def _to_predict(self) -> list[ImageSample]:
        if (source := self.sources["predict"]) is None:
            raise ConfigError("data.predict is not set: a picture, a folder, or a list. zoo predict --image x.jpg")
        found = self._read(source)
        return [sample for split in found.values() for sample in split]

    # Reading ----------------------------------------------------------------------------------------------------

    def _read_source(self, source: str) -> image_sources.Splits:
        return image_sources.read(source, self.label_column, self.subset)

    def _readable(self, samples: list[ImageSample], split: Split) -> list[ImageSample]:
        """The samples whose files begin as pictures do."""
        source = self.sources[split] or self.sources["train"] or ""
        key = hashlib.blake2b(str(follow(source).absolute()).encode(), digest_size=16).hexdigest()
        broken = image_sources.check_headers(
            samples, cache_folder() / "headers" / f"{key}-{split}.json", reading.header
        )
        if broken:
            self.bad.add(split, [(str(samples[i]), reason) for i, reason in broken.items()], len(samples))
        return [sample for i, sample in enumerate(samples) if i not in broken]

    # Looking ----------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> Any:
        loader: Any = super().train_dataloader()
        if self.show and self.trainer.is_global_zero:
            keys = loader.batch_sampler.batch(self.trainer.global_step)[:64]
            batch = loader.collate_fn([loader.dataset[key] for key in keys])
            self.task.draw_batch(batch, Path(self.show), self.trainer.global_step)
            print(f"written: {self.show}")
        return loader


def _share(samples: list[ImageSample], count: int, seed: int) -> list[ImageSample]:
    """`count` of the samples, the same share of every class, in their order."""
    by_label: dict[str | None, list[int]] = defaultdict(list)
    for i, sample in enumerate(samples):
        by_label[sample.label].append(i)
    ranked = []
    for label, indices in by_label.items():
        order = streams.permutation(len(indices), seed, "limit", label or "").tolist()
        ranked += [((rank + 0.5) / len(indices), indices[i]) for rank, i in enumerate(order)]
    return [samples[i] for i in sorted(i for _, i in sorted(ranked)[:count])]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
