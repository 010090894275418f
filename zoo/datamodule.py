"""DataModule: splits, caching, loaders, and the order of samples as a function of (seed, step)."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from zoo import streams
from zoo.broken import BadSamples, Flags
from zoo.errors import BrokenSampleError, ConfigError, DataError
from zoo.files import cache
from zoo.samples import Batch, Encoder, Item, Split

_STAGES: dict[str, list[Split]] = {
    "fit": ["train", "validation"],
    "validate": ["validation"],
    "test": ["test"],
    "predict": ["predict"],
}
_ENCODED_AT_ONCE = 256
_PATH_LENGTH = 4096


class DataModule(LightningDataModule):
    """Samples of one modality. A new one writes `samples(split)`; encoding and collating are the task's.

    Args:
        batch_size: samples of one optimizer step, over all devices.
        eval_batch_size: samples at a time in validation, test and prediction, over all devices; null for batch_size.
            It does not change any figure.
        num_workers: processes that read and encode. It does not change any sample.
        max_broken: share of a split's samples that may be unreadable; they are named, listed in bad_samples.jsonl, and
            left out (in training, the next sample stands in). More of them stop the run.
    """

    free_on_resume: ClassVar[tuple[str, ...]] = ()
    """Settings, as data.train, that may differ when a run is resumed: what they lead to is compared instead."""

    def __init__(
        self, batch_size: int = 8, eval_batch_size: int | None = None, num_workers: int = 0, max_broken: float = 0.001
    ):
        super().__init__()
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value is not None and value < 1:
                raise ConfigError(f"data.{name} is {value}; a whole number from 1.")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or batch_size
        self.num_workers = num_workers
        self.items: dict[Split, Sequence[Item]] = {}
        self.contents: dict[Split, str] = {}
        """Number of samples and hash of what is in them, by split: a resumed run must meet the same."""
        self._encoders: dict[Split, Encoder] = {}
        self.bad = BadSamples(max_broken)
        self._encoded: dict[Split, _Encoded] = {}

    if TYPE_CHECKING:
        trainer: Any

    def samples(self, split: Split) -> Sequence[Any] | None:
        """Raw samples of the split, in a fixed order; None if the data has no such split.

        A sequence with a method `digest`, a hash of all that is in it, is asked for that instead of `content` for each.
        """
        raise NotImplementedError

    def content(self, sample: Any) -> bytes:
        """What is in a sample, for the key of the cache."""
        return repr(sample).encode()

    def describe(self, split: Split) -> str:
        """What was concluded about the data of the split, for a line on the screen."""
        return ""

    @property
    def task(self) -> Any:
        return self.trainer.lightning_module

    @property
    def seed(self) -> int:
        return getattr(self.trainer, "seed", 0)

    # Preparation ------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        for split in _STAGES[stage]:
            if split not in self.items:
                self._setup_split(split)
        if stage == "fit" and not len(self.items["train"]):
            raise DataError("the training data is empty: no sample is left to train on.")

    def _setup_split(self, split: Split) -> None:
        samples = self.samples(split)
        if samples is None:
            self.items[split] = []
            return
        if split == "train" and not self.task.learned:
            self.task.adapt(samples)
        self.task.check_samples(samples, split)
        encoder = self._encoders[split] = self.task.encoder(split)
        self.contents[split] = _digest(samples, self.content if encoder.cached else _outside)
        if encoder.cached:
            encoded: Sequence[Item] = self._cached(encoder, samples, split)
        else:
            encoded = self._encoded[split] = _Encoded(encoder, samples, split == "train")
        self.items[split] = encoder.arrange(encoded)
        if self.trainer.is_global_zero and (line := self.describe(split)):
            items = self.items[split]
            made = items.describe() if hasattr(items, "describe") else f"{len(items):,} items"
            print(f"data: {split}: {line}, {made}")

    def _cached(self, encoder: Encoder, samples: Sequence[Any], split: Split) -> cache.Table:
        """The encoded items, memory-mapped from the cache; written there first if this content is new."""
        name = cache.key(["items", encoder.fingerprint(), self.contents[split]])
        return cache.table("encoded", name, lambda facts: _batches(encoder, samples))

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
        order = Order(len(self.items["train"]), self.batch_size, self.seed, self._part, lambda: trainer.global_step)
        return self._loader("train", order)

    def val_dataloader(self) -> DataLoader | list:
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader | list:
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader | list:
        return self._evaluation_loader("predict")

    def _evaluation_loader(self, split: Split) -> DataLoader | list:
        count = len(self.items[split])
        if not count:
            return []
        starts = range(0, count, self.eval_batch_size)
        batches = [self._part([(0, i) for i in range(s, min(s + self.eval_batch_size, count))]) for s in starts]
        return self._loader(split, _Fixed(batches))

    def _part(self, batch: list) -> list:
        """This process's share of a batch: consecutive, as even as possible, never a sample twice."""
        rank, world = self.trainer.global_rank, self.trainer.world_size
        bounds = [math.ceil(len(batch) * r / world) for r in (rank, rank + 1)]
        return batch[bounds[0] : bounds[1]]

    def _loader(self, split: Split, batches: Any) -> DataLoader:
        encoder = self._encoders[split]
        return DataLoader(
            _Items(self.items[split], encoder, self.seed if split == "train" else None),
            batch_sampler=batches,
            collate_fn=_Collate(encoder),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


class Order:
    """Which samples each training step sees: a function of (seed, step), endless, from any step on.

    Every pass over the data is a new permutation; its last batch is smaller when the sizes do not divide.

    Args:
        count: samples in the data.
        part: this process's share of a batch.
        first_step: read when a pass over the loader begins, so that a resumed run goes on where it was.
    """

    def __init__(
        self, count: int, batch_size: int, seed: int, part: Callable[[list], list], first_step: Callable[[], int]
    ):
        self.count, self.batch_size, self.seed, self.part, self.first_step = count, batch_size, seed, part, first_step
        self._pass: tuple[int, list[int]] = (-1, [])

    def __len__(self) -> int:
        return math.ceil(self.count / self.batch_size)

    def batch(self, step: int) -> list[tuple[int, int]]:
        """(step, sample) for every sample of the whole batch."""
        number, position = divmod(step, len(self))
        if self._pass[0] != number:
            self._pass = number, streams.permutation(self.count, self.seed, "order", number).tolist()
        start = position * self.batch_size
        return [(step, sample) for sample in self._pass[1][start : start + self.batch_size]]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        step = self.first_step()
        while True:
            yield self.part(self.batch(step))
            step += 1


class _Fixed:
    """The same batches, each time."""

    def __init__(self, batches: list[list[tuple[int, int]]]):
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.batches)


class _Encoded(Sequence):
    """Samples, encoded when they are asked for. One that is broken is flagged.

    Args:
        replace: the next sample stands in for a broken one; else there is None in its place.
    """

    def __init__(self, encoder: Encoder, samples: Sequence[Any], replace: bool):
        self.encoder, self.samples, self.replace = encoder, samples, replace
        self.broken = Flags(len(samples))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        for i in range(index, index + len(self)):
            try:
                return self.encoder.encode([self.samples[i % len(self)]])[0]
            except BrokenSampleError:
                self.broken.set(i % len(self))
                if not self.replace:
                    return None
        raise DataError("the data has no sample that can be read.")

    def reason(self, index: int) -> str:
        """Why a sample is broken: it is read once more."""
        try:
            self.encoder.encode([self.samples[index]])
        except BrokenSampleError as error:
            return str(error)
        return "it could not be read at first"


class _Items(Dataset):
    """Items by (step, index); augmented from that pair alone, if a seed is given."""

    def __init__(self, items: Sequence[Item], encoder: Encoder, seed: int | None):
        self.items, self.encoder, self.seed = items, encoder, seed

    def __getitem__(self, key: tuple[int, int]) -> Item:
        step, index = key
        item = self.items[index]
        if self.seed is None or item is None:
            return item
        return self.encoder.augment(item, streams.generator(self.seed, "augment", step, index))


class _Collate:
    def __init__(self, encoder: Encoder):
        self.encoder = encoder

    def __call__(self, items: list[Item]) -> Batch:
        readable = [item for item in items if item is not None]
        return self.encoder.collate(readable) if readable else {}


def _digest(samples: Sequence[Any], content: Callable[[Any], bytes]) -> str:
    if whole := getattr(samples, "digest", None):
        return f"{len(samples)} samples, {whole()}"
    key = hashlib.blake2b(digest_size=16)
    for sample in samples:
        part = content(sample)
        key.update(len(part).to_bytes(8, "little") + part)
    return f"{len(samples)} samples, {key.hexdigest()}"


def _outside(sample: Any) -> bytes:
    """What tells a sample from others without opening it: names (without folders), labels, text."""
    fields = vars(sample) if hasattr(sample, "__dict__") else {"": sample}
    return repr([(name, _outside_of(value)) for name, value in fields.items()]).encode()


def _outside_of(value: Any) -> Any:
    if isinstance(value, (str, Path)):
        return str(value).rpartition("/")[2] if len(str(value)) < _PATH_LENGTH else value
    if isinstance(value, bytes):
        return hashlib.blake2b(value, digest_size=16).hexdigest()
    return value if isinstance(value, (int, float, type(None))) else type(value).__name__


def _batches(encoder: Encoder, samples: Sequence[Any]) -> Iterator[Any]:
    remaining, is_empty = iter(samples), True
    while some := list(islice(remaining, _ENCODED_AT_ONCE)):
        if items := encoder.encode(some):
            is_empty = False
            yield cache.rows(items)
    if is_empty:
        raise DataError("the data is empty: there is no sample to encode.")
