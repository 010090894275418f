"""SpeechData: recordings and what is said in them, from folders, tables, LibriSpeech, Common Voice or the hub."""

import os
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, ClassVar

from zoo import streams
from zoo.audio.reading import QUIET
from zoo.constraints import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, checked
from zoo.data import speech_lengths, speech_sources
from zoo.data.speech_sources import Asked
from zoo.datamodule import DataModule
from zoo.errors import DataError
from zoo.files import cache
from zoo.files.forms import Found
from zoo.files.paths import follow
from zoo.samples import SpeechSample, Split

_FASTEST = 40
"""Letters a second: a transcript with more is that of another recording, or its recording was cut off."""


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
        audio_column: column of a table or hub data set that holds the recording or its path. null takes the one called
            audio, file_name, path … A pattern with columns in braces names files from the table's folder:
            clips/{id}.mp3.
        text_column: column that holds the transcript. null takes the one called text, transcription or the like.
        group_column: column whose equal values, such as those of one speaker, stay on one side when validation and
            test data are parts of train. folder groups recordings without a table. null splits recording by recording.
        min_seconds: shorter recordings are left out.
        max_seconds: longest recording, or part of one. null takes as much as the model does.
        limit: how many training recordings are used. null takes all.
        num_workers: processes that read and encode recordings. null takes as many as there are cores.
    """

    sample_types = (SpeechSample,)
    looks = "zoo.data.speech_sources"
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
        if setting == "predict":  # neither what was said nor who said it is known of what is to be transcribed
            columns = self.audio_column, None, None
        return speech_sources.read(source, split, Asked(self.reading, *columns, self.subset, setting != "predict"))

    def to_predict(self, source: str) -> Found:
        splits: tuple[Split, ...] = ("train", "validation", "test")
        found = [one for split in splits if (one := self._read(source, split, "predict")) is not None]
        return Found([sample for one in found for sample in one.samples], found[0].notes)

    # Splits -----------------------------------------------------------------------------------------------------

    def divide(
        self, samples: Sequence[SpeechSample], shares: dict[Split, float]
    ) -> tuple[dict[Split, list[SpeechSample]], str]:
        groups = self._groups(samples, len(shares))
        drawn = [groups[i] for i in streams.permutation(len(groups), self.seed, "held out").tolist()]
        held, rest = _held_out(drawn, [*shares.values()])
        train = [i for group in rest for i in group]
        if self.limit:
            order = streams.permutation(len(train), self.seed, "limit").tolist()
            train = [train[i] for i in order[: self.limit]]
        parts = {split: [i for group in some for i in group] for split, some in zip(shares, held, strict=True)}
        parts["train"] = train
        whole = f" (whole values of {self.group_column})" if self.group_column else ""
        told = "{share}" + whole.replace("{", "{{").replace("}", "}}")
        return {split: [samples[i] for i in sorted(indices)] for split, indices in parts.items()}, told

    def _groups(self, samples: Sequence[SpeechSample], parts: int) -> list[list[int]]:
        """What must stay together: all of one speaker, or every recording for itself."""
        if not self.group_column:
            return [[i] for i in range(len(samples))]
        groups: dict[str, list[int]] = {}
        for i, sample in enumerate(samples):
            groups.setdefault(sample.speaker or "", []).append(i)
        if parts and len(groups) <= parts:
            raise DataError(
                f"{self.sources['train']} has {len(groups)} of '{self.group_column}', and {parts + 1} are needed to "
                f"hold out whole ones. Set data.validation to other recordings, or data.group_column to null."
            )
        return [groups[name] for name in sorted(groups)]

    def usable(self, samples: list[SpeechSample], split: Split) -> tuple[list[SpeechSample], list[str]]:
        """The samples whose files can be read as far as is seen, with their ends, cut and sorted out by lengths."""
        name = cache.key([str(follow(self.sources[split] or self.sources["train"] or "").absolute()), split])
        seconds = dict(enumerate(speech_lengths.lengths(samples, name)))
        wrong = {i: found for i, found in seconds.items() if isinstance(found, str)}
        whole = {i: speech_lengths.part(samples[i], n) for i, n in seconds.items() if not isinstance(n, str)}
        known = {i: sample.seconds or 0.0 for i, sample in whole.items()}
        heard = speech_lengths.peaks({i: samples[i] for i in known}, known, name) if split != "predict" else {}
        wrong |= {i: found for i, found in heard.items() if isinstance(found, str)}
        if wrong:
            self.bad.add(split, [(str(samples[i]), wrong[i]) for i in sorted(wrong)], len(samples))
        kept = [sample for i, sample in whole.items() if i not in wrong]
        silent = [str(samples[i]) for i, found in heard.items() if not isinstance(found, str) and found < QUIET]
        notes = [f"{len(silent):,} silent ({_some(silent)})"] if silent else []
        return (kept, []) if split == "predict" else self._of_length(kept, split, notes)

    def _of_length(
        self, samples: list[SpeechSample], split: Split, notes: list[str]
    ) -> tuple[list[SpeechSample], list[str]]:
        most = self.max_seconds or getattr(self.task, "max_seconds", None)
        kept, left_out = speech_lengths.within(samples, self.min_seconds, most)
        if not kept and samples:
            needed = " A transcript is a .txt, .srt or .vtt of the same name beside a recording, or a cell of a table."
            hint = needed if any(sample.text is None for sample in samples) else ""
            counts = ", ".join(left_out)
            raise DataError(f"data.{split}: nothing is left of {len(samples):,} recordings: {counts}.{hint}")
        hasty = [str(s) for s in kept if len(s.text or "") > _FASTEST * (s.seconds or 0)]
        told = f"{len(hasty):,} with over {_FASTEST} letters a second, which nobody speaks ({_some(hasty)})"
        return kept, [*notes, *left_out, *([told] if hasty else [])]

    def summary(self, samples: list[SpeechSample]) -> str:
        seconds = sum(sample.seconds or 0 for sample in samples)
        speakers = len({sample.speaker for sample in samples if sample.speaker is not None})
        by = f", {speakers} values of {self.group_column}" if speakers else ""
        return f"{len(samples):,} recordings, {_spoken(seconds)}{by}"


def _held_out(groups: list[list[int]], shares: list[float]) -> tuple[list[list[list[int]]], list[list[int]]]:
    """Whole groups for each share, as many as it takes, but none that the others or the rest need; and the rest."""
    total, held = sum(map(len, groups)), []
    for others, share in zip(reversed(range(len(shares))), shares, strict=True):
        enough = bisect_left([*accumulate(map(len, groups))], share * total - 1e-9) + 1
        count = max(1, min(enough, len(groups) - others - 1))
        held.append(groups[:count])
        groups = groups[count:]
    return held, groups


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(name.rpartition("/")[2] for name in names[:3]) + more


def _spoken(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
