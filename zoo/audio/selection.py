"""Recordings that a network can be trained and measured on, and how many others were left out, and why."""

from collections.abc import Callable, Sequence
from typing import Any

from zoo.audio import reading
from zoo.errors import BrokenSampleError
from zoo.samples import SpeechSample


def seconds(sample: SpeechSample, rate: int) -> float:
    """How long a recording is; 0 if that cannot be told, which is said when it is read."""
    if sample.seconds is not None:
        return sample.seconds
    try:
        return max(0.0, reading.length(sample.audio, sample.rate or rate) - sample.start)
    except BrokenSampleError:
        return 0.0


class Selection(Sequence):
    """Those of the items that can be used.

    Args:
        items: of samples; with the samples themselves as `samples`.
        rate: that the network wants, in Hz.
        refuse: why a sample of so many seconds cannot be used; "" if it can.
    """

    def __init__(self, items: Any, rate: int, refuse: Callable[[SpeechSample, float], str]):
        self.items = items
        self.reasons: dict[str, list[str]] = {}
        self.seconds: list[float] = []
        self.indices: list[int] = []
        for index, sample in enumerate(items.samples):
            length = seconds(sample, rate)
            if reason := refuse(sample, length):
                self.reasons.setdefault(reason, []).append(str(sample))
            else:
                self.indices.append(index)
                self.seconds.append(length)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        return self.items[self.indices[index]]

    def describe(self) -> str:
        left_out = "".join(f"; left out: {len(names):,} {why} ({names[0]})" for why, names in self.reasons.items())
        return f"{len(self):,} utterances, {_duration(sum(self.seconds))}{left_out}"


def _duration(whole: float) -> str:
    return f"{whole / 3600:.1f} h" if whole >= 3600 else f"{whole / 60:.1f} min"
