"""From samples to items: encoded once and kept, or each time one is asked for; and what tells data apart."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from zoo.errors import BrokenSampleError, DataError
from zoo.files import cache
from zoo.files.broken import Flags
from zoo.samples import Processor

_ENCODED_AT_ONCE = 256
_PATH_LENGTH = 4096


def kept(processor: Processor, samples: Sequence[Any], content: str) -> cache.Table:
    """The encoded items, memory-mapped from the cache; written there first if this content is new."""
    name = cache.key(["items", processor.fingerprint(), content])
    return cache.table("encoded", name, lambda facts: _batches(processor, samples))


def _batches(processor: Processor, samples: Sequence[Any]) -> Iterator[Any]:
    remaining, is_empty = iter(samples), True
    while some := list(islice(remaining, _ENCODED_AT_ONCE)):
        if items := processor.encode(some):
            is_empty = False
            yield cache.rows(items)
    if is_empty:
        raise DataError("the data is empty: there is no sample to encode.")


class Encoded(Sequence):
    """Samples, encoded when they are asked for. One that is broken is flagged.

    Args:
        replace: the next sample stands in for a broken one; else there is None in its place.
    """

    def __init__(self, processor: Processor, samples: Sequence[Any], replace: bool):
        self.processor, self.samples, self.replace = processor, samples, replace
        self.broken = Flags(len(samples))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        for i in range(index, index + len(self)):
            try:
                return self.processor.encode([self.samples[i % len(self)]])[0]
            except BrokenSampleError:
                self.broken.set(i % len(self))
                if not self.replace:
                    return None
        raise DataError("the data has no sample that can be read.")

    def reason(self, index: int) -> str:
        """Why a sample is broken: it is read once more."""
        try:
            self.processor.encode([self.samples[index]])
        except BrokenSampleError as error:
            return str(error)
        return "it could not be read at first"


def digest(samples: Sequence[Any], content: Callable[[Any], bytes]) -> str:
    if whole := getattr(samples, "digest", None):
        return f"{len(samples)} samples, {whole()}"
    key = hashlib.blake2b(digest_size=16)
    for sample in samples:
        part = content(sample)
        key.update(len(part).to_bytes(8, "little") + part)
    return f"{len(samples)} samples, {key.hexdigest()}"


def outside(sample: Any) -> bytes:
    """What tells a sample from others without opening it: names (without folders), labels, text."""
    fields = vars(sample) if hasattr(sample, "__dict__") else {"": sample}
    return repr([(name, _outside_of(value)) for name, value in fields.items()]).encode()


def _outside_of(value: Any) -> Any:
    if isinstance(value, (str, Path)):
        return str(value).rpartition("/")[2] if len(str(value)) < _PATH_LENGTH else value
    if isinstance(value, bytes):
        return hashlib.blake2b(value, digest_size=16).hexdigest()
    return value if isinstance(value, (int, float, type(None))) else type(value).__name__
