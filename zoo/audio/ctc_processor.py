"""Recordings to batches for CTC.

B samples · T frames of features (or samples of waveforms) · L letters
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from zoo.audio import augment, reading
from zoo.audio.alphabet import Alphabet, frames_needed
from zoo.audio.augment import Augmentation, Variation
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
        augmentation: of training recordings; None in evaluation. To learn from, recordings with more letters than the
            network has frames are left out too: they have no loss, but count in an error rate.
    """

    def __init__(
        self,
        alphabet: Alphabet,
        inputs: LogMel | Waveform,
        transcript: Callable[[str], str],
        frames: Callable[[int], int],
        max_seconds: float,
        augmentation: Augmentation | None,
    ):
        self.alphabet, self.inputs, self.transcript = alphabet, inputs, transcript
        self.frames, self.max_seconds, self.augmentation = frames, max_seconds, augmentation
        self.vary = Variation(augmentation, inputs.rate, max_seconds) if augmentation else None

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
        if self.augmentation is None:
            return ""
        frames = self.frames(self.inputs.frames(round(seconds * self.inputs.rate)))
        return "with more letters than the network has frames" if frames_needed(self.labels(sample)) > frames else ""

    def lengths(self, items: Any) -> list[int]:
        return [round(100 * seconds) for seconds in items.seconds]

    def augment(self, item: Item, stream: torch.Generator) -> Item:
        assert self.augmentation is not None
        assert self.vary is not None
        waveform = self.vary(item["waveform"], stream)
        features = self.inputs(waveform)
        made = {**item, "waveform": waveform, "features": features, "seconds": len(waveform) / self.inputs.rate}
        if not self.augmentation.masks:
            return made
        if isinstance(self.inputs, LogMel):
            per_second = self.inputs.rate / self.inputs.hop
            return {**made, "features": augment.masked(features, self.augmentation, per_second, stream)}
        frames = self.frames(len(features))  # what such a network makes of a waveform has no bands
        per_second = frames * self.inputs.rate / len(features)
        return {**made, "masked": augment.masks(frames, 1, self.augmentation, per_second, stream)[0]}

    def collate(self, items: Sequence[Item]) -> Batch:
        features = [item["features"] if "features" in item else self.inputs(item["waveform"]) for item in items]
        targets = [item["targets"] for item in items]
        masks = [item["masked"] for item in items if "masked" in item]
        return {
            "features": pad_sequence(features, batch_first=True),  # [B, T, M], or [B, S] of waveforms
            "length": torch.tensor([len(x) for x in features]),
            "targets": pad_sequence(targets, batch_first=True),  # [B, L]
            "target_length": torch.tensor([len(x) for x in targets]),
            **({"masked": pad_sequence(masks, batch_first=True)} if masks else {}),  # [B, F] bool
            **{name: [item[name] for item in items] for name in ("text", "name", "seconds")},
        }
