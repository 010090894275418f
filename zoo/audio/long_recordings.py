"""Recordings to transcribe, of any length."""

from collections.abc import Sequence

from zoo.audio import reading
from zoo.samples import Batch, Item, Processor, SpeechSample


class LongRecordings(Processor):
    """Recordings of any length, as they are: they are cut into windows where they are transcribed.

    Args:
        rate: that the network wants, in Hz.
    """

    def __init__(self, rate: int):
        self.rate = rate

    def encode(self, samples: Sequence[SpeechSample]) -> list[Item]:
        return [
            {"name": str(s), "start": s.start, "waveform": reading.read(s.audio, self.rate, s.start, s.end, s.rate)}
            for s in samples
        ]

    def collate(self, items: Sequence[Item]) -> Batch:
        return {name: [item[name] for item in items] for name in ("waveform", "name", "start")}
