"""DataModule: splits, caching, loaders, and the order of samples as a function of (seed, step)."""

import functools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from zoo import streams
from zoo.constraints import ClosedUnitInterval, NonNegativeInt, OpenUnitInterval, PositiveInt, ShareBelowOne, checked
from zoo.errors import ConfigError, DataError, MissingInputError
from zoo.files import sources
from zoo.files.broken import BadSamples
from zoo.files.forms import Found
from zoo.files.tables import Reading
from zoo.loading.items import Encoded, digest, kept, outside
from zoo.loading.order import Collate, Fixed, Items, Order
from zoo.recorded import Recorded
from zoo.rules import Rule, SumBelow, apart, kinds
from zoo.samples import Batch, Item, Processor, Split, taken

_STAGES: dict[str, list[Split]] = {
    "fit": ["train", "validation"],
    "validate": ["validation"],
    "test": ["test"],
    "predict": ["predict"],
}

Separator = Annotated[str, re.compile(r'\\t|[^"\r\n]'), "one character, as ; or \\t"]
"""One character, or the two by which a tab is typed."""


@checked
class DataModule(Recorded, LightningDataModule):
    """Samples of one modality. A new one writes `read(source, split)`, or `samples(split)` where nothing is read. The
    task encodes and collates them.

    Args:
        train: source of the training data: a file, a folder, or a data set of the hub.
        validation: source of the validation data. null takes the source's own split, or else a part of train.
        test: source of the test data. null takes the source's own split, or else a part of train (test_fraction), or
            else the validation data.
        predict: source of what to predict, or a single input such as a prompt or an image.
        subset: name of a subset ("config") of a hub data set.
        separator: character between the fields of a .csv or .tsv. null means a comma or a tab.
        encoding: encoding of text files. null detects it, and prints it if it is not UTF-8.
        limit: how many training samples are used. null takes all.
        validation_fraction: share of train that is held out where there is no validation data.
        test_fraction: share of train that is held out where there is no test data.
        batch_size: samples of one optimizer step, over all devices.
        eval_batch_size: samples at a time in validation, test and prediction, over all devices. null takes batch_size.
            It does not change any metric.
        num_workers: processes that read and encode samples. It does not change any sample.
        max_broken: share of a split's samples that may be unreadable. They are named, listed in bad_samples.jsonl, and
            left out (in training, the next sample replaces them). More of them stop the run, unless they are five or
            fewer, and at most a tenth. 0 allows none.
        group_by_length: puts samples of about the same length into each training batch, so that less of it is padding.
            This changes the order of the samples, and so the result.
    """

    rules: ClassVar[tuple[Rule, ...]] = (SumBelow(("validation_fraction", "test_fraction"), 1),)
    changeable_on_resume: ClassVar[tuple[str, ...]] = ("data.train", "data.validation")
    """Settings, as data.train, that may differ when a run is resumed: what they lead to is compared instead."""
    sample_types: ClassVar[tuple[type, ...]] = ()
    """Classes of the samples that it yields. A task that takes others is refused; () refuses none."""
    looks: ClassVar[str] = ""
    """A module with `look(path, settings)`, which refuses what cannot be read of a file before torch is imported."""
    example_sources: ClassVar[dict[str, str]] = {"train": "a file or a folder.", "predict": "a file or a folder."}
    """What data.train and data.predict may be, for who has not set them."""

    def __init__(
        self,
        train: str | None = None,
        validation: str | None = None,
        test: str | None = None,
        predict: str | None = None,
        subset: str | None = None,
        separator: Separator | None = None,
        encoding: str | None = None,
        limit: PositiveInt | None = None,
        validation_fraction: OpenUnitInterval = 0.1,
        test_fraction: ShareBelowOne = 0.0,
        batch_size: PositiveInt = 8,
        eval_batch_size: PositiveInt | None = None,
        num_workers: NonNegativeInt = 0,
        max_broken: ClosedUnitInterval = 0.001,
        group_by_length: bool = False,
    ):
        super().__init__()
        separator = "\t" if separator == "\\t" else separator
        self.sources: dict[Split, str | None] = {
            "train": train,
            "validation": validation,
            "test": test,
            "predict": predict,
        }
        self.subset, self.limit = subset, limit
        self.reading = Reading(separator, encoding)
        self.fractions: dict[Split, float] = {"test": test_fraction, "validation": validation_fraction}
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or batch_size
        self.num_workers, self.group_by_length = num_workers, group_by_length
        self.items: dict[Split, Sequence[Item]] = {}
        self.contents: dict[Split, str] = {}
        """Number of samples and hash of what is in them, by split: a resumed run must meet the same."""
        self._processors: dict[Split, Processor] = {}
        self.bad = BadSamples(max_broken)
        self._encoded: dict[Split, Encoded] = {}
        self._read = functools.cache(self._read_source)
        self._told: dict[Split, str] = {}

    if TYPE_CHECKING:
        trainer: Any

    @property
    def task(self) -> Any:
        return self.trainer.lightning_module

    @property
    def seed(self) -> int:
        return getattr(self.trainer, "seed", 0)

    # What a modality writes -------------------------------------------------------------------------------------

    def read(self, source: str, split: Split, setting: Split) -> Found | None:
        """What a source has for the split, in a fixed order; None where it has other splits, but not this one.

        Args:
            setting: that names the source.
        """
        raise NotImplementedError(f"{type(self).__name__} needs read(source, split, setting), or samples(split)")

    def divide(self, samples: Any, shares: dict[Split, float]) -> tuple[dict[Split, Any], str]:
        """The training data, and as large a part of it for each of `shares` (maybe none), drawn by the seed; and how
        it was divided, as "{share} of each class"."""
        order = streams.permutation(len(samples), self.seed, "held out").tolist()
        parts, taken = {}, 0
        for split, share in shares.items():
            count = max(1, round(share * len(samples)))
            parts[split] = [samples[i] for i in sorted(order[taken : taken + count])]
            taken += count
        return {**parts, "train": [samples[i] for i in sorted(order[taken:])]}, "{share}"

    def to_predict(self, source: str) -> Found:
        """What `data.predict` names."""
        found = self._read(source, "train", "predict")
        assert found is not None  # every source has training data
        return found

    def usable(self, samples: Any, split: Split) -> tuple[Any, list[str]]:
        """The samples without those that are seen at once to be of no use; and how many were left out for what reason,
        as ["3 longer than 30 s"], broken ones aside."""
        return samples, []

    def summary(self, samples: Any) -> str:
        """How many there are, and of what, for a line on the screen."""
        return f"{len(samples):,} samples"

    def content(self, sample: Any) -> bytes:
        """What is in a sample, for the key of the cache."""
        return repr(sample).encode()

    # Splits -----------------------------------------------------------------------------------------------------

    def samples(self, split: Split) -> Any:
        """Raw samples of the split, in a fixed order; None if the data has no such split.

        A sequence with a method `digest`, a hash of all that is in it, is asked for that instead of `content` for each.
        """
        found, origin = self._found(split)
        samples, left_out = self.usable(found.samples, split)
        told = ", ".join([f"{origin}: {self.summary(samples)}", *found.notes, *left_out])
        self._told[split] = told.encode(errors="backslashreplace").decode()  # a file's name may have any bytes
        return samples

    def describe(self, split: Split) -> str:
        """What was concluded about the data of the split, for a line on the screen."""
        return self._told.get(split, "")

    def _found(self, split: Split) -> tuple[Found, str]:
        """What the split has, and where it comes from."""
        if (source := self.sources[split]) is None and split in ("train", "predict"):
            raise ConfigError(f"data.{split} is not set: {self.example_sources[split]}")
        if split == "predict":
            return self.to_predict(str(source)), str(source)
        train = str(self.sources["train"])
        if split != "train" and (own := self._own(split)) is not None:
            return own, source or train
        parts, how = self._parts
        if split in parts:
            if not len(parts[split]):
                raise DataError(f"{train} is too small to be divided: nothing is left for {split}. Set data.{split}.")
            notes = self._whole.notes if split == "train" else []
            share = f"{self.fractions.get(split, 1):.0%}"
            return Found(parts[split], notes), train if split == "train" else f"{how.format(share=share)} of {train}"
        found, _ = self._found("validation")
        return found, "no test data, so the validation data"

    def _own(self, split: Split) -> Found | None:
        """Data of the split that is named, or that the training source has; None where train has to be divided."""
        if source := self.sources[split]:
            asked: Split = "train" if sources.names_split(source) else split
            return self._read(source, asked, split) or self._read(source, "train", split)
        assert self._whole  # or data.train is not set
        return self._read(str(self.sources["train"]), split, "train")

    @property
    def _whole(self) -> Found:
        if (source := self.sources["train"]) is None:
            raise ConfigError(f"data.train is not set: {self.example_sources['train']}")
        found = self._read(source, "train", "train")
        assert found is not None  # every source has training data
        return found

    @functools.cached_property
    def _parts(self) -> tuple[dict[Split, Any], str]:
        whole = self._whole
        shares = {split: share for split, share in self.fractions.items() if share and self._own(split) is None}
        return self.divide(whole.samples, shares)

    def _read_source(self, source: str, split: Split, setting: Split) -> Found | None:
        try:
            return self.read(source, split, setting)
        except MissingInputError as error:
            raise MissingInputError(f"data.{setting}: {error}") from error

    # Preparation ------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        self._refuse_other_samples()
        for split in _STAGES[stage]:
            if split not in self.items:
                self._setup_split(split)
        if stage == "fit" and not len(self.items["train"]):
            raise DataError("the training data is empty: no sample is left to train on.")

    def _refuse_other_samples(self) -> None:
        takes = [kind.__name__ for kind in taken(type(self.task))]
        yields = [kind.__name__ for kind in self.sample_types]
        if apart(takes, yields):
            raise ConfigError(
                f"{type(self.task).__name__} takes {kinds(takes)}, and {type(self).__name__} yields {kinds(yields)}. "
                f"Choose a task and data that go together."
            )

    def _setup_split(self, split: Split) -> None:
        asked = self.task.samples_to_predict() if split == "predict" else None
        samples = self.samples(split) if asked is None else asked
        if samples is None:
            self.items[split] = []
            return
        if split == "train" and not self.task.data_state:
            self.task.setup_from_data(samples)
        samples = self._checked(samples, split)
        processor = self._processors[split] = self.task.processor(split)
        self.contents[split] = digest(samples, self.content if processor.cached else outside)
        if processor.cached:
            encoded: Sequence[Item] = kept(processor, samples, self.contents[split])
        else:
            encoded = self._encoded[split] = Encoded(processor, samples, split == "train")
        self.items[split] = processor.pack(encoded)
        if self.trainer.is_global_zero and (line := self.describe(split)):
            items = self.items[split]
            made = items.describe() if hasattr(items, "describe") else f"{len(items):,} items"
            print(f"data: {split}: {line}, {made}")

    def _checked(self, samples: Any, split: Split) -> Any:
        """The samples without those that the task leaves out, which are counted on the screen."""
        if not (left_out := self.task.check_samples(samples, split)):
            return samples
        counts = ", ".join(f"{count:,} {reason}" for reason, count in Counter(left_out.values()).items())
        if len(left_out) == len(samples):
            raise DataError(f"data.{split}: nothing is left of {len(samples):,} samples: {counts}.")
        self._told[split] += f", {counts}"
        return [sample for i, sample in enumerate(samples) if i not in left_out]

    def name_broken(self) -> None:
        """Name the samples that workers could not read since the last call.

        Raises:
            DataError: they are more than max_broken.
        """
        for split, encoded in self._encoded.items():
            if fresh := encoded.broken.fresh():
                samples = [(str(encoded.samples[i]), encoded.reason(i)) for i in fresh]
                self.bad.add(split, samples, len(encoded))

    # Loaders ----------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        lengths = self._processors["train"].lengths(self.items["train"]) if self.group_by_length else None
        if self.group_by_length and lengths is None:
            raise ConfigError("data.group_by_length is set, and this task's samples are all of the same length.")
        count = len(self.items["train"])
        order = Order(count, self.batch_size, self.seed, self._part, lambda: trainer.global_step, lengths)
        return self._loader("train", order)

    def val_dataloader(self) -> DataLoader | list:
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader | list:
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader | list:
        return self._evaluation_loader("predict")

    def batches(self, split: Split, processor: Processor, indices: Sequence[int] | None = None) -> Iterable[Batch]:
        """Batches of any split, for a task that compares with other data than it is tested on.

        Args:
            indices: of samples, which then come in one batch; None for all.
        """
        samples = self._checked(self.samples(split), split)
        encoded = Encoded(processor, samples, False)
        size = self.eval_batch_size
        starts = range(0, len(samples), size)
        chosen = [list(range(s, min(s + size, len(samples)))) for s in starts] if indices is None else [[*indices]]
        items = Items(processor.pack(encoded), processor, None)
        batches = Fixed([[(0, i) for i in batch] for batch in chosen])
        return DataLoader(items, batch_sampler=batches, collate_fn=Collate(processor), num_workers=self.num_workers)

    def _evaluation_loader(self, split: Split) -> DataLoader | list:
        count = len(self.items[split])
        if not count:
            return []
        starts = range(0, count, self.eval_batch_size)
        batches = [self._part([(0, i) for i in range(s, min(s + self.eval_batch_size, count))]) for s in starts]
        return self._loader(split, Fixed(batches))

    def _part(self, batch: list) -> list:
        """This process's share of a batch: consecutive, as even as possible, never a sample twice."""
        rank, world = self.trainer.global_rank, self.trainer.world_size
        bounds = [math.ceil(len(batch) * r / world) for r in (rank, rank + 1)]
        return batch[bounds[0] : bounds[1]]

    def _loader(self, split: Split, batches: Any) -> DataLoader:
        processor = self._processors[split]
        return DataLoader(
            Items(self.items[split], processor, self.seed if split == "train" else None),
            batch_sampler=batches,
            collate_fn=Collate(processor),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
        )


def held_out_by_class(labels: Sequence[str | None], shares: dict[Split, float], seed: int) -> dict[Split, list[int]]:
    """Which samples are in each split, and in train: the same share of every class, drawn by the seed, in their order.

    For validation it is one of every class at least, unless the class has no other.
    """
    by_class: dict[str | None, list[int]] = defaultdict(list)
    for i, label in enumerate(labels):
        by_class[label].append(i)
    held: dict[Split, list[int]] = {split: [] for split in shares}
    for label, rows in by_class.items():
        order = streams.permutation(len(rows), seed, "held out", label or "").tolist()
        for split, share in shares.items():
            least = int(split == "validation" and len(rows) > 1)
            count = max(least, round(share * len(rows))) if least or split != "validation" else 0
            held[split] += [rows[i] for i in order[:count]]
            order = order[count:]
    away = {i for rows in held.values() for i in rows}
    return {**{s: sorted(rows) for s, rows in held.items()}, "train": [i for i in range(len(labels)) if i not in away]}
