"""Recordings to batches for CTC.

B samples · T frames of features (or samples of waveforms) · L letters
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from zoo.audio import reading
from zoo.audio.alphabet import Alphabet, frames_needed
from zoo.audio.features import LogMel, Waveform
from zoo.audio.selection import Selection
from zoo.samples import Batch, Item, Processor, SpeechSample


class CTCProcessor(Processor):
    """Recordings to features, padded to the longest, and transcripts to the numbers of their letters.

    Args:
        alphabet: of the network's outputs.
        inputs: what the network hears.
        transcript: the form in which a transcript is learned.
        frames: frames of the network for so many frames of `inputs`.
        max_seconds: recordings that are longer are left out.
    """

    def __init__(
        self,
        alphabet: Alphabet,
        inputs: LogMel | Waveform,
        transcript: Callable[[str], str],
        frames: Callable[[int], int],
        max_seconds: float,
    ):
        self.alphabet, self.inputs, self.transcript = alphabet, inputs, transcript
        self.frames, self.max_seconds = frames, max_seconds

    def encode(self, samples: Sequence[SpeechSample]) -> list[Item]:
        return [self._encoded(sample) for sample in samples]

    def _encoded(self, sample: SpeechSample) -> Item:
        rate = self.inputs.rate
        waveform = reading.read(sample.audio, rate, sample.start, sample.end, sample.rate)
        return {
            "waveform": waveform,
            "targets": torch.tensor(self.labels(sample), dtype=torch.int64),
            "text": sample.text or "",
            "name": str(sample),
            "seconds": len(waveform) / rate,
        }

    def labels(self, sample: SpeechSample) -> list[int]:
        return self.alphabet.encode(self.transcript(sample.text or ""))

    def pack(self, items: Sequence[Item]) -> Selection:
        return Selection(items, self.inputs.rate, self._refuse)

    def _refuse(self, sample: SpeechSample, seconds: float) -> str:
        if seconds > self.max_seconds:
            return f"longer than {self.max_seconds:g} s"
        frames = self.frames(self.inputs.frames(round(seconds * self.inputs.rate)))
        return "with more letters than the network has frames" if frames_needed(self.labels(sample)) > frames else ""

    def lengths(self, items: Any) -> list[int]:
        return [round(100 * seconds) for seconds in items.seconds]

    def collate(self, items: Sequence[Item]) -> Batch:
        features = [item["features"] if "features" in item else self.inputs(item["waveform"]) for item in items]
        targets = [item["targets"] for item in items]
        return {
            "features": pad_sequence(features, batch_first=True),  # [B, T, M], or [B, S] of waveforms
            "length": torch.tensor([len(x) for x in features]),
            "targets": pad_sequence(targets, batch_first=True),  # [B, L]
            "target_length": torch.tensor([len(x) for x in targets]),
            **{name: [item[name] for item in items] for name in ("text", "name", "seconds")},
        }


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
