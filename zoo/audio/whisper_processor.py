"""Recordings to batches for Whisper.

B samples · M mel bands · T tokens
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from zoo.audio import augment, reading, whisper_text
from zoo.audio.augment import Augmentation, Variation
from zoo.audio.features import WhisperMel
from zoo.audio.selection import Selection
from zoo.audio.whisper_text import Prompt, Times
from zoo.samples import Batch, Item, Processor, SpeechSample

IGNORED = -100


class WhisperProcessor(Processor):
    """Recordings to log-mels of 30 seconds, and transcripts to tokens.

    Args:
        tokenizer: of the model.
        prompt: what the decoder is told before the text.
        mel: how the model hears.
        max_tokens: of a transcript with its prompt; recordings with more are left out.
        timestamp_share: of the training samples, that are learned with timestamps. Where a sample has no times of its
            own, it is one segment.
        augmentation: of training recordings; None in evaluation.
    """

    def __init__(
        self,
        tokenizer: Any,
        prompt: Prompt,
        mel: WhisperMel,
        max_tokens: int,
        timestamp_share: float,
        augmentation: Augmentation | None,
    ):
        self.tokenizer, self.prompt, self.mel = tokenizer, prompt, mel
        self.max_tokens, self.timestamp_share, self.augmentation = max_tokens, timestamp_share, augmentation
        self.vary = Variation(augmentation, mel.rate, mel.seconds) if augmentation else None

    def encode(self, samples: Sequence[SpeechSample]) -> list[Item]:
        return [self._encoded(sample) for sample in samples]

    def _encoded(self, sample: SpeechSample) -> Item:
        rate = self.mel.rate
        waveform = reading.read(sample.audio, rate, sample.start, sample.end, sample.rate)
        return {
            "waveform": waveform,
            "ids": self._ids(sample.text or ""),
            "times": _times(sample, len(waveform) / rate),
            "text": sample.text or "",
            "name": str(sample),
            "seconds": len(waveform) / rate,
        }

    def _ids(self, text: str) -> list[int]:
        """Tokens of prompt, transcript and end."""
        return [*self.prompt.tokens(timestamps=False), *whisper_text.transcript(self.tokenizer, self.prompt, text)]

    def _timed_ids(self, times: Times, seconds: float) -> list[int]:
        """The same with timestamps."""
        said = whisper_text.timed_transcript(self.tokenizer, self.prompt, times, seconds)
        return [*self.prompt.tokens(timestamps=True), *said]

    def pack(self, items: Sequence[Item]) -> Selection:
        return Selection(items, self.mel.rate, self._refuse)

    def _refuse(self, sample: SpeechSample, seconds: float) -> str:
        if seconds > self.mel.seconds:
            return f"longer than {self.mel.seconds} s"
        longest = len(self._ids(sample.text or ""))
        if self.timestamp_share:
            longest = max(longest, len(self._timed_ids(_times(sample, seconds), seconds)))
        return f"with more than {self.max_tokens} tokens" if longest > self.max_tokens else ""

    def augment(self, item: Item, stream: torch.Generator) -> Item:
        assert self.augmentation is not None
        assert self.vary is not None
        is_timed = float(torch.rand((), generator=stream)) < self.timestamp_share
        waveform = self.vary(item["waveform"], stream)
        seconds = len(waveform) / self.mel.rate
        mel = self.mel(waveform)
        if self.augmentation.masks:  # but for the last frame, which says how silence looks
            per_second = self.mel.rate / self.mel.hop
            masked = augment.masked(mel[:, :-1].T, self.augmentation, per_second, stream).T
            mel = torch.cat([masked, mel[:, -1:]], dim=1)
        made = {**item, "mel": mel, "seconds": seconds}
        if not is_timed:
            return made
        slower = seconds / item["seconds"]
        times = [(slower * start, slower * end, text) for start, end, text in item["times"]]
        return {**made, "ids": self._timed_ids(times, seconds)}

    def collate(self, items: Sequence[Item]) -> Batch:
        mels = [item["mel"] if "mel" in item else self.mel(item["waveform"]) for item in items]
        ids = [torch.tensor(item["ids"]) for item in items]
        prompt = self.prompt.tokens(timestamps=False)
        prompts = [len(prompt) - (prompt[-1] not in item["ids"]) for item in items]
        targets = [x[1:].clone() for x in ids]
        for row, told in zip(targets, prompts, strict=True):
            row[: told - 1] = IGNORED  # what the decoder is told is not learned
        return {
            "features": torch.stack([self.mel.padded(mel) for mel in mels]),  # [B, M, 3000]
            "ids": pad_sequence([x[:-1] for x in ids], batch_first=True, padding_value=self.prompt.end),  # [B, T]
            "targets": pad_sequence(targets, batch_first=True, padding_value=IGNORED),  # by length: the end is padding
            "length": torch.tensor([len(x) - 1 for x in ids]),
            **{name: [item[name] for item in items] for name in ("text", "name", "seconds")},
        }


def _times(sample: SpeechSample, seconds: float) -> list[tuple[float, float, str]]:
    """What is said when, in seconds of the part that the sample is; one segment where that is not known."""
    inside = [
        (start - sample.start, end - sample.start, text)
        for start, end, text in sample.times or ()
        if start >= sample.start and end <= sample.start + seconds + 0.01
    ]
    return inside or [(0.0, seconds, sample.text or "")]
