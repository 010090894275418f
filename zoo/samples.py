"""The table between tasks and data modules: what the one yields and the other takes.

A data module yields samples and knows no model; a task's processor turns them into items and batches and knows no file.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zoo.errors import BrokenSampleError, DataError

if TYPE_CHECKING:
    import torch

Split = Literal["train", "validation", "test", "predict"]
Item = dict[str, Any]
Batch = dict[str, Any]
INDEX = "index"
"""In every batch of a loader: the number of each sample in its split."""

_SINGLE = (str, bytes, PathLike, Mapping, np.ndarray)
"""What is one input, although it can be iterated over."""


@dataclass(frozen=True)
class TextSample:
    """A document to learn from, or a prompt to continue; with its class if it has one."""

    text: str
    label: str | None = None


@dataclass(frozen=True)
class CompletionSample:
    """A prompt and what is to follow it; only the completion carries loss."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class ChatSample:
    """A conversation; what the assistant says in it carries loss.

    Args:
        messages: of {"role": "system" | "user" | "assistant" …, "content": text}, and whatever else a chat template
            knows what to do with.
    """

    messages: list[dict[str, Any]]


@dataclass(frozen=True)
class ImageSample:
    """An image, with its class if it has one.

    Args:
        image: a path, the bytes of a file, pixels ([H, W] or [H, W, 3] uint8), a Pillow image, or a call without
            arguments that returns one of these.
        label: the name of its class.
        name: what messages and predictions call it; empty for its path.
    """

    image: Any
    label: str | None = None
    name: str = ""

    def __str__(self) -> str:
        name = self.name or (str(self.image) if isinstance(self.image, (str, Path)) else "image")
        return name.encode(errors="backslashreplace").decode()  # a file's name may have bytes that are no text


@dataclass(frozen=True)
class SpeechSample:
    """A recording, or a part of one, with what is said in it if that is known.

    Args:
        audio: a path, the bytes of a file, a waveform ([frames], float or integer), or a call without arguments that
            returns one of these.
        text: the transcript.
        name: what messages and predictions call it; empty for its path.
        start: where the part begins, in seconds.
        end: where it ends; None for the recording's own end.
        rate: of a waveform, in Hz; None if it has the rate that the model wants.
        times: (start, end, text) of what is said, in seconds of the recording, if that is known.
        speaker: whose voice it is, or whatever else must not be both in training and in validation data.
    """

    audio: Any
    text: str | None = None
    name: str = ""
    start: float = 0.0
    end: float | None = None
    rate: int | None = None
    times: tuple[tuple[float, float, str], ...] | None = None
    speaker: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long it is; None as long as nobody has looked."""
        return None if self.end is None else self.end - self.start

    def __str__(self) -> str:
        name = self.name or (str(self.audio) if isinstance(self.audio, (str, Path)) else "recording")
        return name.encode(errors="backslashreplace").decode()  # a file's name may have bytes that are no text


@dataclass(frozen=True)
class ImageRequest:
    """An image to make.

    Args:
        label: the class that it is to show; None for none.
    """

    label: str | None = None


def as_samples(inputs: Any, kind: type) -> list[Any]:
    """Samples of inputs to predict from, or of a single one: a text, a path, a waveform is one input, not several.

    Args:
        kind: the class of the samples; what is not one yet is wrapped in it.
    """
    tensors = [sys.modules["torch"].Tensor] if "torch" in sys.modules else []  # this file is read before torch is
    single = isinstance(inputs, (kind, *_SINGLE, *tensors)) or not isinstance(inputs, Iterable)
    return [x if isinstance(x, kind) else kind(x) for x in ([inputs] if single else inputs)]


def taken(task: type) -> tuple[type, ...]:
    """Classes of the samples that a task learns from; () where it does not say."""
    said = getattr(task, "sample_types", ())
    return said or ((task.sample_type,) if hasattr(task, "sample_type") else ())


def encoded(processor: "Processor", samples: Sequence[Any]) -> list[Item]:
    """Items of samples that were handed over one by one, as inputs to predict from.

    Raises:
        DataError: one of them cannot be read; it is named.
    """
    try:
        return processor.encode(samples)
    except BrokenSampleError:
        for number, sample in enumerate(samples, 1):
            try:
                processor.encode([sample])
            except BrokenSampleError as error:
                which = f"Input {number} of {len(samples)}" if len(samples) > 1 else "The input"
                raise DataError(f"{which} cannot be read ({str(sample)[:60]}): {error}.") from error
        raise


class Processor:
    """From samples to batches, without weights: small and picklable, because data workers run it.

    What it must know of the model (tokenizer, mean, sampling rate) it is given by the task that makes it, so the data
    module never has to be told and cannot disagree.
    """

    cached = False
    """Encode every sample once, keep the items on disk (memory-mapped), and encode no more. For slow, deterministic
    work such as tokenising. Otherwise samples are encoded by the workers, each time they are used."""

    def fingerprint(self) -> str:
        """All that changes what `encode` returns; the key of the cache beside the content of the samples."""
        raise NotImplementedError(f"{type(self).__name__} is cached, so it needs fingerprint()")

    def encode(self, samples: Sequence[Any]) -> list[Item]:
        """Items of these samples, deterministic. One each, unless the processor is cached: then any number in all.

        Raises:
            BrokenSampleError: a sample cannot be read (only where the processor is not cached).
        """
        raise NotImplementedError

    def pack(self, items: Sequence[Item]) -> Sequence[Item]:
        """The items as training or evaluation sees them: cut, joined, packed. Must answer by index, in any process."""
        return items

    def lengths(self, items: Sequence[Item]) -> Sequence[int] | None:
        """Of each arranged item, for batches of samples of about the same length; None where all are alike."""
        return None

    def augment(self, item: Item, stream: "torch.Generator") -> Item:
        """Training only. Draws from `stream` and nothing else."""
        return item

    def collate(self, items: Sequence[Item]) -> Batch:
        """A batch: tensors whose first dimension is the sample, lists of that length, or what all samples share."""
        raise NotImplementedError
