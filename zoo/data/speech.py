"""SpeechData: recordings and what is said in them, from folders, tables, LibriSpeech, Common Voice or the hub."""

import os
from collections.abc import Sequence
from typing import Any, ClassVar

from zoo import streams
from zoo.constraints import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, checked
from zoo.data import speech_lengths, speech_sources
from zoo.data.speech_sources import Asked
from zoo.datamodule import DataModule
from zoo.errors import DataError
from zoo.files import cache
from zoo.files.forms import Found
from zoo.files.paths import follow
from zoo.samples import SpeechSample, Split


@checked
class SpeechData(DataModule):
    """Recordings with their transcripts to train, validate and test on, and recordings to transcribe.

    A source is a folder with a table (metadata.csv, or any .csv, .tsv, .jsonl, .json, .parquet) with a column of paths
    or recordings and one of transcripts, such a table itself, a folder with a .txt, .srt, .vtt or Whisper's .json
    beside each recording, LibriSpeech's or Common Voice's folder, or a data set of the Hugging Face hub. Folders or
    tables called train, val (or dev) and test are the splits. What to transcribe may be a single recording, a folder,
    or a list of paths (.txt) too. A recording that is longer than max_seconds is cut where its transcript has times,
    and left out where it has none.

    Args:
        audio_column: of a table or hub data set; null for the one called audio, file_name, path … Or where the file of
            a row is, from the table's folder, with columns in braces: clips/{id}.mp3.
        text_column: likewise; null for the one called text, transcription or sentence, say.
        group_column: keep all recordings with the same value, as of one speaker, on one side when validation and test
            data are parts of train. For recordings without a table: folder. null to divide recording by recording.
        min_seconds: leave out recordings that are shorter.
        max_seconds: of a recording, or of its parts; null for as many as the model takes.
        limit: train on so many recordings only; null for all.
        num_workers: null for as many as there are cores.
    """

    shorthands: ClassVar[dict[str, str]] = {"audio": "data.predict"}
    example_sources: ClassVar[dict[str, str]] = {
        "train": "a folder with metadata.csv, a table, or a hub data set.",
        "predict": "a recording, a folder, or a list. zoo predict --audio x.wav",
    }

    def __init__(
        self,
        audio_column: str | None = None,
        text_column: str | None = None,
        group_column: str | None = None,
        min_seconds: NonNegativeFloat = 0.1,
        max_seconds: PositiveFloat | None = None,
        limit: PositiveInt | None = None,
        num_workers: NonNegativeInt | None = None,
        **kwargs: Any,
    ):
        super().__init__(limit=limit, num_workers=_cores() if num_workers is None else num_workers, **kwargs)
        self.audio_column, self.text_column, self.group_column = audio_column, text_column, group_column
        self.min_seconds, self.max_seconds = min_seconds, max_seconds

    # Sources ----------------------------------------------------------------------------------------------------

    def read(self, source: str, split: Split, setting: Split) -> Found | None:
        columns = self.audio_column, self.text_column, self.group_column
        return speech_sources.read(source, split, Asked(self.reading, *columns, self.subset, setting != "predict"))

    def to_predict(self, source: str) -> Found:
        splits: tuple[Split, ...] = ("train", "validation", "test")
        found = [one for split in splits if (one := self._read(source, split, "predict")) is not None]
        return Found([sample for one in found for sample in one.samples], found[0].notes)

    # Splits -----------------------------------------------------------------------------------------------------

    def divide(
        self, samples: Sequence[SpeechSample], shares: dict[Split, float]
    ) -> tuple[dict[Split, list[SpeechSample]], str]:
        order, parts, how = self._in_groups(samples, shares) if self.group_column and shares else (
            *self._one_by_one(samples, shares), "{share}"
        )  # fmt: skip
        train = sorted(order[: self.limit]) if self.limit else sorted(order)
        return {**{s: [samples[i] for i in sorted(p)] for s, p in parts.items()},
                "train": [samples[i] for i in train]}, how  # fmt: skip

    def _one_by_one(
        self, samples: Sequence[SpeechSample], shares: dict[Split, float]
    ) -> tuple[list[int], dict[Split, list[int]]]:
        """Indices for training, in the order of `limit`, and those of the other parts."""
        order = streams.permutation(len(samples), self.seed, "held out").tolist()
        parts: dict[Split, list[int]] = {}
        for split, share in shares.items():
            count = max(1, round(share * len(samples)))
            parts[split], order = order[:count], order[count:]
        return order[::-1], parts

    def _in_groups(
        self, samples: Sequence[SpeechSample], shares: dict[Split, float]
    ) -> tuple[list[int], dict[Split, list[int]], str]:
        """As `_one_by_one`, with every group on one side: groups are taken until a part has its share."""
        groups: dict[str | None, list[int]] = {}
        for i, sample in enumerate(samples):
            groups.setdefault(sample.speaker, []).append(i)
        if len(groups) <= len(shares):
            raise DataError(
                f"{self.sources['train']} has {len(groups)} value(s) in '{self.group_column}', too few to hold out one "
                f"for {' and one for '.join(shares)}. Set data.validation, or data.group_column: null."
            )
        names = sorted(groups, key=str)
        waiting = [names[i] for i in streams.permutation(len(names), self.seed, "held out", "groups").tolist()]
        parts: dict[Split, list[int]] = {}
        told = []
        for number, (split, share) in enumerate(shares.items(), 1):
            parts[split], taken = [], 0
            while not taken or (len(parts[split]) < share * len(samples) and len(waiting) > len(shares) - number + 1):
                parts[split] += groups[waiting.pop(0)]
                taken += 1
            told.append(f"{taken} of {len(groups)}")
        rest = [i for name in waiting for i in groups[name]]
        order = [rest[i] for i in streams.permutation(len(rest), self.seed, "limit").tolist()]
        return order, parts, f"{' and '.join(told)} by {self.group_column}, held out"

    def usable(self, samples: list[SpeechSample], split: Split) -> tuple[list[SpeechSample], list[str]]:
        """The samples whose files begin as recordings do, with their ends, cut and sorted out by their lengths."""
        source = self.sources[split] or self.sources["train"] or ""
        lengths = speech_lengths.measured(samples, cache.key([str(follow(source).absolute()), split]))
        broken = {i: found for i, found in enumerate(lengths) if isinstance(found, str)}
        if broken:
            self.bad.add(split, [(str(samples[i]), reason) for i, reason in broken.items()], len(samples))
        whole = [speech_lengths.part(s, n) for s, n in zip(samples, lengths, strict=True) if not isinstance(n, str)]
        if split == "predict":
            return whole, []
        most = self.max_seconds or getattr(self.task, "max_seconds", None)
        kept, left_out = speech_lengths.within(whole, self.min_seconds, most)
        if not kept and whole:
            raise DataError(f"data.{split}: nothing is left of {len(whole):,} recordings: {', '.join(left_out)}.")
        return kept, left_out

    def summary(self, samples: list[SpeechSample]) -> str:
        seconds = sum(sample.seconds or 0 for sample in samples)
        speakers = len({sample.speaker for sample in samples if sample.speaker is not None})
        by = f", {speakers} by {self.group_column}" if speakers else ""
        return f"{len(samples):,} recordings, {_spoken(seconds)}{by}"


def _spoken(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
